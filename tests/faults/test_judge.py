"""The judge finds each fault in a forged journal, and nothing in a clean one."""

import pytest

from judge import judge


class Forgery:
    """Writes a journal by short words."""

    def __init__(self):
        self.events = []

    def add(self, event, **fields):
        self.events.append({"event": event, **fields})
        return self

    def open(self, conn, user=None, ack=False, protocol="realtime"):
        self.add("open", conn=conn, user=user or conn[0], ack=ack, gateway=8081, protocol=protocol)
        return self.add("welcome", conn=conn, id=f"uuid-{conn}")

    def close(self, conn):
        return self.add("closed", conn=conn, code=1000)

    def send(self, conn, number, to="b", kind="direct", id=None):
        return self.add("sent", conn=conn, kind=kind, id=id or f"{conn[0]}:{number}", to=to,
                        number=number)

    def answer(self, conn, number, how="delivered", to=(), id=None, **more):
        return self.add("answer", conn=conn, id=id or f"{conn[0]}:{number}", how=how, to=list(to),
                        **more)

    def come(self, conn, number, sender="a", to="b", kind="direct"):
        return self.add("came", conn=conn, kind=kind, id=f"{sender}:{number}", sender=sender,
                        to=to, number=number)

    def pass_on(self, number, sender="a1", receiver="b1"):
        return self.send(sender, number).answer(sender, number).come(receiver, number)

    def post(self, conn, number):
        return self.send(conn, number, "group:g", "group")

    def reach(self, conn, number, mid=None, sender="a", to="group:g"):
        return self.add("came", conn=conn, kind="group", id=f"{sender}:{number}", sender=sender,
                        to=to, number=number, mid=mid)

    def subscribe(self, conn, *topics):
        return self.add("subscribed", conn=conn, topics=list(topics))

    def presence(self, conn, of, status):
        return self.add("presence", conn=conn, of=of, status=status)

    def quiet(self, *away, **more):
        return self.add("quiet", away=list(away), **more)

    def kinds(self):
        return {kind for kind, _ in judge(self.events)}


def both():
    return Forgery().open("a1").open("b1")


def to(protocol):
    return Forgery().open("a1").open("b/1", protocol=protocol)


def by_callie(protocol="realtime"):
    return Forgery().open("a1", protocol="callie").open("b1", protocol=protocol).add(
        "sent", conn="a1", kind="direct", id="a:1", to="b", number=1, anonymous=True)


def members(author="chat"):
    """Of a group: a1; b1 by realtime, which shows what comes as direct; c/1 by chat."""
    return Forgery().open("a1", protocol=author).open("b1").open("c/1", protocol="chat").add(
        "group", name="group:g", members=["a", "b", "c"])


def posted(number=1):
    return members().post("a1", number).answer("a1", number)


def discarding():
    """By callie, which is answered nothing."""
    return members("callie").add("sent", conn="a1", kind="group", id="a:1", to="group:g", number=1,
                                 anonymous=True)


CLEAN = {
    "without an id, and never there":
        both().add("sent", conn="a1", kind="direct", id="a:1", to="b", number=1, anonymous=True)
        .quiet(),
    "in order": both().pass_on(1).pass_on(2).quiet(),
    "answered later than received": both().send("a1", 1).come("b1", 1).answer("a1", 1).quiet(),
    "refused and never there": both().send("a1", 1).answer("a1", 1, "refused").quiet(),
    "a full mailbox": both().send("a1", 1).answer("a1", 1, "full").quiet(),
    "never answered, and gone": both().send("a1", 1).close("a1").quiet(),
    "never answered, but there": both().send("a1", 1).close("a1").come("b1", 1).quiet(),
    "waits for one who is away":
        both().close("b1").send("a1", 1).answer("a1", 1, "queued").quiet("b"),
    "repeated on a new connection, unconfirmed":
        both().pass_on(1).close("b1").open("b2").come("b2", 1).quiet(),
    "repeated to one who was away before he acknowledged":
        Forgery().open("a1").open("b1", ack=True).pass_on(1).close("b1")
        .quiet("b", waiting={"b": ["a:1"]}, lasting={"b": [8081]}).open("b2").come("b2", 1).quiet(),
    "repeated to one who was away when his gateway was buried":
        both().pass_on(1).close("b1").quiet("b", waiting={"b": ["a:1"]}, lasting={"b": [8082]})
        .quiet("b", waiting={"b": ["a:1"]}, lasting={"b": [8081]}).open("b2").come("b2", 1).quiet(),
    "messaging: again until it is read":
        to("messaging").pass_on(1, receiver="b/1").quiet().close("b/1")
        .open("b/2", protocol="messaging").come("b/2", 1).quiet(),
    "messaging: read on a connection that did not live on":
        to("messaging").pass_on(1, receiver="b/1").add("read", conn="b/1", id="a:1").close("b/1")
        .quiet("b").open("b/2", protocol="messaging").come("b/2", 1).quiet(),
    "chat: events one by one, over two connections":
        to("chat").add("numbered", conn="b/1", number=1).close("b/1").open("b/2", protocol="chat")
        .add("numbered", conn="b/2", number=2).quiet(),
    "callie: discarded, and told":
        by_callie().answer("a1", 1, "discarded").quiet(unbroken=[8081]),
    "callie: it waits in the events of a chat user who is away":
        by_callie("chat").close("b1").quiet("b", unbroken=[8081]).open("b2", protocol="chat")
        .come("b2", 1).quiet(unbroken=[8081]),
    "callie: nobody told one whose gateway was buried": by_callie().quiet(unbroken=[8082]),
    "callie: nobody told one who had gone": by_callie().close("a1").quiet(unbroken=[8081]),
    "on two devices at once": both().open("b2").pass_on(1).come("b2", 1).quiet(),
    "on two devices, with a quiet between":
        both().open("b2").send("a1", 1).answer("a1", 1).come("b1", 1).quiet().come("b2", 1).quiet(),
    "repeated from the middle on, in order":
        both().pass_on(1).pass_on(2).close("b1").open("b2").come("b2", 1).come("b2", 2)
        .pass_on(3, receiver="b2").quiet(),
    "a retry is answered as before":
        both().send("a1", 1).answer("a1", 1, to=["uuid-b1"]).come("b1", 1).close("a1").open("a2")
        .send("a2", 1).answer("a2", 1, to=["uuid-b1"]).quiet(),
    "the first was refused, the retry comes after the second":
        both().send("a1", 1).answer("a1", 1, "refused").pass_on(2).pass_on(1).quiet(),
    "a retry by another connection overtakes, though it is told 503":
        both().send("a1", 1).send("a1", 2).close("a1").open("a2").send("a2", 2)
        .answer("a2", 2, "refused").come("b1", 2).come("b1", 1).quiet(),
    "two senders, each in order":
        both().open("c1").pass_on(2).send("c1", 1).answer("c1", 1).come("b1", 1, sender="c")
        .quiet(),
    "sent by another connection, in no order":
        both().open("a2").send("a1", 1).send("a2", 2).come("b1", 2).come("b1", 1)
        .answer("a1", 1).answer("a2", 2).quiet(),
    "a subscriber is closed, and misses some":
        both().subscribe("b1", "t").send("a1", 1, "t", "topic").answer("a1", 1).close("b1").quiet(),
    "one who subscribes later misses what was before":
        both().send("a1", 1, "t", "topic").subscribe("b1", "t").answer("a1", 1).quiet(),
    "a publisher does not hear himself":
        both().subscribe("a1", "t").send("a1", 1, "t", "topic").answer("a1", 1).quiet(),
    "presence follows": both().presence("a1", "b", "offline").presence("a1", "b", "online").quiet()
    .close("b1").presence("a1", "b", "offline").quiet("b"),
    "what one sends is no event of his":
        to("chat").send("b/1", 1, "a").answer("b/1", 1).come("a1", 1, "b", "a")
        .add("numbered", conn="b/1", number=2).quiet(),
    "but of his other device":
        to("chat").send("b/1", 1, "a").answer("b/1", 1).come("a1", 1, "b", "a")
        .add("numbered", conn="b'/1", number=1, own="b:1").add("numbered", conn="b'/1", number=2)
        .quiet(),
    "group: all others have it, each as his protocol shows it":
        posted().come("b1", 1).reach("c/1", 1, mid=7).quiet(),
    "group: on two devices of one member":
        posted().open("b2").come("b1", 1).come("b2", 1).reach("c/1", 1).quiet(),
    "group: it waits for members who are away":
        posted().close("b1").close("c/1").quiet("b", "c"),
    "group: never answered, and with nobody": members().post("a1", 1).close("a1").quiet(),
    "group: refused, and with nobody": members().post("a1", 1).answer("a1", 1, "refused").quiet(),
    "group: never answered, and with everybody":
        members().post("a1", 1).close("a1").come("b1", 1).reach("c/1", 1).quiet(),
    "group: a retry is answered as before":
        members().post("a1", 1).close("a1").open("a2", protocol="chat").post("a2", 1)
        .answer("a2", 1, to=["7"]).come("b1", 1).reach("c/1", 1, mid=7).quiet(),
    "group: repeated on a new connection, unconfirmed":
        posted().come("b1", 1).reach("c/1", 1).close("b1").open("b2").come("b2", 1).quiet(),
    "group: what is for him alone and what is for all are not in one order":
        posted(1).send("a1", 2).answer("a1", 2).come("b1", 2).come("b1", 1).reach("c/1", 1)
        .quiet(),
    "group: callie, discarded for one who is away, and told":
        discarding().close("b1").reach("c/1", 1).answer("a1", 1, "discarded", of="b")
        .quiet("b", unbroken=[8081]),
    "group: callie, it waits in the events of chat alone":
        discarding().close("c/1").answer("a1", 1, "discarded", of="b").quiet("c", unbroken=[8081])
        .open("c/2", protocol="chat").reach("c/2", 1).quiet(unbroken=[8081]),
    "group: callie, nobody told one who had gone":
        discarding().close("a1").reach("c/1", 1).quiet(unbroken=[8081]),
    "group: callie, refused": discarding().answer("a1", 1, "refused").quiet(unbroken=[8081]),
    "presence told to one who left": both().presence("a1", "b", "offline").close("a1").quiet(),
}

FAULTY = {
    "lost": both().send("a1", 1).answer("a1", 1).quiet(),
    "lost though queued": both().close("b1").send("a1", 1).answer("a1", 1, "queued").open("b2")
    .quiet(),
    "lost in the middle": both().pass_on(1).send("a1", 2).answer("a1", 2).pass_on(3).quiet(),
    "lost_on_topics": both().subscribe("b1", "t").send("a1", 1, "t", "topic").answer("a1", 1)
    .quiet(),
    "doubled": both().pass_on(1).come("b1", 1).quiet(),
    "doubled after it was confirmed":
        both().pass_on(1).quiet().close("b1").open("b2").come("b2", 1).quiet(),
    "doubled though TCP took it before he went away":
        both().pass_on(1).close("b1").quiet("b").open("b2").come("b2", 1).quiet(),
    "doubled though his gateway had all the time to confirm":
        both().pass_on(1).close("b1").quiet("b", waiting={"b": ["a:1"]}, lasting={"b": [8081]})
        .open("b2").come("b2", 1).quiet(),
    "doubled though it was not in the mailbox any more":
        both().pass_on(1).close("b1").quiet("b", waiting={"b": ["a:1"]})
        .quiet("b", waiting={"b": ["a:2"]}).open("b2").come("b2", 1).quiet(),
    "doubled though read":
        to("messaging").pass_on(1, receiver="b/1").add("read", conn="b/1", id="a:1").quiet()
        .close("b/1").open("b/2", protocol="messaging").come("b/2", 1).quiet(),
    "doubled in events":
        to("chat").pass_on(1, receiver="b/1").close("b/1").open("b/2", protocol="chat")
        .come("b/2", 1).quiet(),
    "gapped": to("chat").add("numbered", conn="b/1", number=1)
    .add("numbered", conn="b/1", number=3).quiet(),
    "gapped though it gets what it sends":
        to("chat").send("b/1", 1, "a").answer("b/1", 1).come("a1", 1, "b", "a")
        .add("numbered", conn="b/1", number=2, echo=True).quiet(),
    "gapped by more than it sent":
        to("chat").send("b/1", 1, "a").answer("b/1", 1).come("a1", 1, "b", "a")
        .add("numbered", conn="b/1", number=3).quiet(),
    "gapped by what is not answered":
        to("chat").send("b/1", 1, "a").come("a1", 1, "b", "a")
        .add("numbered", conn="b/1", number=2).answer("b/1", 1).quiet(),
    "gapped by what it has seen":
        to("chat").send("b/1", 1, "a").answer("b/1", 1).come("a1", 1, "b", "a")
        .add("numbered", conn="b/1", number=1, own="b:1").add("numbered", conn="b/1", number=3)
        .quiet(),
    "gapped by one that came again":
        to("chat").add("numbered", conn="b/1", number=1).close("b/1").open("b/2", protocol="chat")
        .add("numbered", conn="b/2", number=1).quiet(),
    "vanished": by_callie().quiet(unbroken=[8081]),
    "vanished while he was away":
        by_callie("chat").close("b1").quiet("b", unbroken=[8081]).open("b2", protocol="chat")
        .quiet(unbroken=[8081]),
    "vanished on one who keeps nothing":
        by_callie().close("b1").quiet("b", unbroken=[8081]),
    "doubled though acknowledged":
        Forgery().open("a1").open("b1", ack=True).pass_on(1).quiet().close("b1").open("b2")
        .come("b2", 1).quiet(),
    "doubled on a topic": both().subscribe("b1", "t").send("a1", 1, "t", "topic").answer("a1", 1)
    .come("b1", 1, to="t", kind="topic").come("b1", 1, to="t", kind="topic").quiet(),
    "reordered": both().send("a1", 1).send("a1", 2).answer("a1", 1).answer("a1", 2).come("b1", 2)
    .come("b1", 1).quiet(),
    "reordered far apart": both().send("a1", 1).pass_on(2).pass_on(3).answer("a1", 1)
    .come("b1", 1).quiet(),
    "reordered by a retry": both().send("a1", 1).close("a1").open("a2").send("a2", 1)
    .send("a2", 2).come("b1", 2).come("b1", 1).answer("a2", 1).answer("a2", 2).quiet(),
    "reordered on a new connection":
        both().send("a1", 1).send("a1", 2).come("b1", 1).come("b1", 2).answer("a1", 1)
        .answer("a1", 2).close("b1").open("b2").come("b2", 2).come("b2", 1).quiet(),
    "contradicting": both().pass_on(1).close("a1").open("a2").send("a2", 1)
    .answer("a2", 1, "queued").quiet(),
    "contradicting connections":
        both().pass_on(1).close("a1").open("a2").send("a2", 1)
        .answer("a2", 1, to=["uuid-elsewhere"]).quiet(),
    "contradicting receiver": both().send("a1", 1).answer("a1", 1, to=["uuid-a1"]).come("b1", 1)
    .quiet(),
    "contradicting nothing": both().answer("a1", 1).quiet(),
    "unanswered": both().send("a1", 1).come("b1", 1).quiet(),
    "foreign": both().come("b1", 1).quiet(),
    "foreign receiver": both().open("c1").send("a1", 1).answer("a1", 1).come("b1", 1)
    .come("c1", 1).quiet(),
    "foreign content": both().send("a1", 1).answer("a1", 1)
    .add("came", conn="b1", kind="direct", id="a:1", sender="a", to="b", number=7).quiet(),
    "foreign id": both().send("a1", 1).answer("a1", 1)
    .add("came", conn="b1", kind="direct", id="a:1", sender="a", to="b", number=1, mid="x")
    .close("b1").open("b2")
    .add("came", conn="b2", kind="direct", id="a:1", sender="a", to="b", number=1, mid="y").quiet(),
    "lost to one member of a group": posted().come("b1", 1).quiet(),
    "lost to all members of a group": posted().quiet(),
    "lost to a member who came back":
        posted().close("b1").reach("c/1", 1).quiet("b").open("b2").quiet(),
    "lost to one member, though its author was told nothing":
        members().post("a1", 1).close("a1").reach("c/1", 1).quiet(),
    "lost in the events of a group by callie":
        discarding().close("a1").come("b1", 1).quiet(unbroken=[8081]),
    "lost to a group though discarded for another":
        members().open("d1").add("group", name="group:g", members=["a", "b", "c", "d"])
        .post("a1", 1).answer("a1", 1).come("d1", 1, to="d").reach("c/1", 1)
        .answer("a1", 1, "discarded", of="b").quiet(),
    "vanished for one member of a group": discarding().reach("c/1", 1).quiet(unbroken=[8081]),
    "vanished for one member though another's was told":
        discarding().reach("c/1", 1).answer("a1", 1, "discarded", of="c").quiet(unbroken=[8081]),
    "vanished for all members of a group": discarding().quiet(unbroken=[8081]),
    "doubled in a group": posted().come("b1", 1).come("b1", 1).reach("c/1", 1).quiet(),
    "doubled in a group after it was confirmed":
        posted().come("b1", 1).reach("c/1", 1).quiet().close("b1").open("b2").come("b2", 1)
        .quiet(),
    "doubled in the events of a group":
        posted().come("b1", 1).reach("c/1", 1).close("c/1").open("c/2", protocol="chat")
        .reach("c/2", 1).quiet(),
    "reordered in a group": posted(1).post("a1", 2).answer("a1", 2).come("b1", 1).come("b1", 2)
    .reach("c/1", 2).reach("c/1", 1).quiet(),
    "reordered in a group, shown as direct":
        posted(1).post("a1", 2).answer("a1", 2).come("b1", 2).come("b1", 1).reach("c/1", 1)
        .reach("c/1", 2).quiet(),
    "contradicting in a group":
        members().post("a1", 1).answer("a1", 1, to=["7"]).close("a1").open("a2", protocol="chat")
        .post("a2", 1).answer("a2", 1, to=["8"]).come("b1", 1).reach("c/1", 1).quiet(),
    "unanswered in a group": members().post("a1", 1).come("b1", 1).reach("c/1", 1).quiet(),
    "foreign in a group: its author": posted().come("b1", 1).reach("c/1", 1).reach("a1", 1).quiet(),
    "foreign in a group: no member":
        posted().open("d1").come("b1", 1).reach("c/1", 1).come("d1", 1, to="d").quiet(),
    "foreign in a group: shown as direct":
        posted().come("b1", 1).come("c/1", 1, to="c").quiet(),
    "foreign in a group: shown as of another":
        posted().come("b1", 1).reach("c/1", 1, to="group:h").quiet(),
    "foreign in a group: of two numbers":
        posted().come("b1", 1).reach("c/1", 1, mid=7).open("c'/1", protocol="chat")
        .reach("c'/1", 1, mid=8).quiet(),
    "wrong_presence": both().presence("a1", "b", "online").close("b1").quiet("b"),
    "wrong_presence of one who is here":
        both().presence("a1", "b", "online").presence("a1", "b", "offline").quiet(),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_journal_passes(name):
    assert judge(CLEAN[name].events) == []


@pytest.mark.parametrize("name", FAULTY)
def test_a_planted_fault_is_found(name):
    assert FAULTY[name].kinds() == {name.split()[0]}
