"""
The verdict over a journal: what a promise of delivery.md does not allow. Pure functions: a journal
is a list of events in the order in which they happened (one process wrote all of them), each a dict
with "event" and:

    open      conn user [ack gateway protocol]
                                      a client is connected; ack: it acknowledges itself; gateway: the
                                      port it came to
    welcome   conn id                 its connection_id
    closed    conn code               nothing more comes on it
    group     name members            made before anybody wrote to it; nobody comes or goes
    sent      conn kind id to number [anonymous]
                                      kind "direct" (to: user), "topic" (to: topic) or "group" (to:
                                      its name); a retry is
                                      one more of them; answers to anonymous ones are not known
    answer    conn id how [to of]     delivered, queued, refused (503: not applied, or
                                      nobody knows), full (404 with
                                      queued: false), discarded (callie; of: the member of a group
                                      who has not got it)
    came      conn kind id sender to number [mid]
                                      mid: the id it has in the protocol; id: its own; realtime
                                      shows what is for a group as direct
    subscribed conn topics            the Status to it has come
    numbered  conn number [echo own]  an event of chat; what it brings is one more of "came"; own: the
                                      id of a message of its user's; echo: it gets those it sent
    read      conn id                 messaging: from now on it is not to come again
    presence  conn of status
    quiet     [away waiting lasting unbroken]
                                       everything has settled: what was accepted is there, and what
                                      came is confirmed but for what still waits for those away
                                      waiting: {user: [id]}; lasting: {user: [gateway]}, which his
                                      partition knew all the time since the last quiet; unbroken:
                                      gateways, which every partition did

Ids are unique in a journal. Numbers of a sender rise. A finding is (kind, sentence).
"""

import collections

APPLIED = ("delivered", "queued", "full")
ACCEPTED = ("delivered", "queued")


class Journal:
    """The events, and what many judgements want to look up."""

    def __init__(self, events):
        self.events = events
        self.user_of = {}                              # conn -> user
        self.gateway_of = {}                           # conn -> gateway
        self.protocol_of = {}                          # conn -> protocol
        self.members = {}                              # group -> users
        self.read = {}                                 # (conn, id) -> place
        self.acknowledging = set()                     # users
        self.sent = {}                                 # id -> the first send
        self.attempts = collections.defaultdict(list)  # id -> [(conn, place)]
        self.tries = collections.defaultdict(list)     # the same, no refused ones
        self.answers = collections.defaultdict(list)   # id -> [(place, answer)]
        self.arrivals = collections.defaultdict(list)  # id -> [(place, conn)]
        self.had = collections.defaultdict(set)        # id -> users
        self.opened, self.closed = {}, {}              # conn -> place
        for place, event in enumerate(events):
            getattr(self, "_on_" + event["event"], lambda *_: None)(place, event)

    def _on_open(self, place, event):
        self.user_of[event["conn"]] = event["user"]
        self.gateway_of[event["conn"]] = event.get("gateway")
        self.protocol_of[event["conn"]] = event.get("protocol", "realtime")
        if event.get("ack"):
            self.acknowledging.add(event["user"])
        self.opened[event["conn"]] = place

    def _on_closed(self, place, event):
        self.closed[event["conn"]] = place

    def _on_group(self, _, event):
        self.members[event["name"]] = event["members"]

    def _on_sent(self, place, event):
        self.sent.setdefault(event["id"], event)
        self.attempts[event["id"]].append((event["conn"], place))
        self.tries[event["id"]].append((event["conn"], place))

    def _on_answer(self, place, event):
        id, conn = event["id"], event["conn"]
        self.answers[id].append((place, event))
        if event["how"] == "refused":
            self.tries[id] = [attempt for attempt in self.tries[id] if attempt[0] != conn]

    def _on_read(self, place, event):
        self.read[event["conn"], event["id"]] = place

    def _on_came(self, place, event):
        self.arrivals[event["id"]].append((place, event["conn"]))
        self.had[event["id"]].add(self.user_of.get(event["conn"]))

    def receivers(self, id):
        """The users who are to have it; of a topic it depends on what they did."""
        sent = self.sent[id]
        if sent["kind"] == "group":
            author = self.user_of.get(sent["conn"])
            return [user for user in self.members.get(sent["to"], ()) if user != author]
        return [sent["to"]] if sent["kind"] == "direct" else []

    def users_by(self, protocol):
        return {self.user_of[conn] for conn, its in self.protocol_of.items() if its == protocol}

    def is_open(self, conn, place):
        return self.opened.get(conn, place + 1) < place < self.closed.get(conn, place + 1)

    def quiets(self):
        return [place for place, event in enumerate(self.events) if event["event"] == "quiet"]


def lost(journal):
    """Accepted, and not received when everything had settled; whose receiver stays away waits."""
    chatting = journal.users_by("chat")
    for quiet in journal.quiets()[-1:]:
        away = journal.events[quiet].get("away", ())
        for id, sent in journal.sent.items():
            accepted = _accepted(journal, id, quiet)
            # What callie sends to a group is kept in the events of chat only.
            discards = journal.protocol_of.get(sent["conn"]) == "callie"
            for user in journal.receivers(id) if accepted else ():
                if user not in away and user not in journal.had[id] and (
                        user in chatting or not discards):
                    yield f"{id} {accepted} and never came to {user}"


def _accepted(journal, id, quiet):
    """How one knows that it was, or None. What one member of a group has is there for all."""
    for place, answer in journal.answers.get(id, ()):
        if place < quiet and answer["how"] in ACCEPTED:
            return f"was answered {answer['how']}"
    if journal.sent[id]["kind"] == "group" and id in journal.had:
        return f"came to {sorted(journal.had[id])}"
    return None


def lost_on_topics(journal):
    """
    A subscriber whose connection lives on gets all: one that may have missed something is closed
    (1012).
    """
    subscribers = collections.defaultdict(list)  # topic -> [(conn, place)]
    for place, event in enumerate(journal.events):
        if event["event"] == "subscribed":
            for topic in event["topics"]:
                subscribers[topic].append((event["conn"], place))
    for quiet in journal.quiets():
        for id, answers in journal.answers.items():
            sent = journal.sent.get(id)
            if not sent or sent["kind"] != "topic":
                continue
            yield from _missing(journal, id, sent, answers[0], quiet, subscribers[sent["to"]])


def _missing(journal, id, sent, answer, quiet, subscribers):
    answered, event = answer
    # Of a retry only the first try's place is known to be before its effect.
    first = min((place for _, place in journal.tries[id]), default=quiet)
    if event["how"] != "delivered" or answered > quiet:
        return
    reached = {conn for _, conn in journal.arrivals[id]}
    tried = {conn for conn, _ in journal.tries[id]}
    for conn, place in subscribers:
        if place < first and journal.is_open(conn, quiet) and conn not in reached | tried:
            yield f"{id} on {sent['to']} did not come on {conn}, which lived on"


def doubled(journal):
    """Twice on one connection; or again on a new one, after everything had been confirmed."""
    quiets = journal.quiets()
    for id, arrivals in journal.arrivals.items():
        seen = {}
        for place, conn in arrivals:
            if conn in seen:
                yield f"{id} came twice on {conn}"
            else:
                yield from _confirmed_before(journal, id, place, conn, seen, quiets)
            seen.setdefault(conn, place)


def _confirmed_before(journal, id, place, conn, seen, quiets):
    user = journal.user_of.get(conn)
    kind = journal.sent[id]["kind"] if id in journal.sent else None
    for other, before in seen.items():
        if journal.user_of.get(other) != user or kind not in ("direct", "group"):
            continue
        if journal.protocol_of[other] == "chat" and device_of(other) == device_of(conn):
            yield f"{id} came on {conn} again, though {other} had seen its event"
            return
        if journal.protocol_of[other] == "messaging":
            before = _read_for_good(journal, other, id, quiets)
            if before is None:
                continue
        between = [journal.events[quiet] for quiet in quiets
                   if before < quiet < journal.opened.get(conn, place)]
        if between and not _may_still_wait(journal, id, user, other, between):
            yield f"{id} came on {conn} again, confirmed on {other} long before"
            return


def device_of(conn):
    return conn.partition("/")[0]


def _read_for_good(journal, conn, id, quiets):
    """Where it was read, if the connection by which this was said lived on until all was quiet."""
    place = journal.read.get((conn, id))
    if place is not None and any(place < quiet and journal.is_open(conn, quiet)
                                 for quiet in quiets):
        return place
    return None


def _may_still_wait(journal, id, user, conn, quiets):
    """
    Came on conn, and may come again after these quiets. For one who stayed away it waits on, seen in
    his mailbox: if he acknowledges himself and had no time to, or if the gateway that wrote it was
    buried, or ended, before it could say that it was taken.
    """
    if any(user not in quiet.get("away", ()) or id not in quiet.get("waiting", {}).get(user, ())
           for quiet in quiets):
        return False
    lasting = quiets[0].get("lasting", {}).get(user, ())
    return user in journal.acknowledging or journal.gateway_of[conn] not in lasting


def reordered(journal):
    """
    On one connection x came before y of the same sender, though on every connection by which x may
    have come (one that was refused may have been done: 503) y had been sent first.
    """
    newest = collections.defaultdict(list)  # (conn, sender, to) -> ids that came, numbers rising
    for event in journal.events:
        sent = journal.sent.get(event.get("id"))
        if event["event"] != "came" or not sent:
            continue
        came = newest[event["conn"], event["sender"], sent["to"]]
        for other in reversed(came):
            x = journal.sent[other]
            if x["number"] < sent["number"]:
                break
            if x["number"] > sent["number"] and _sent_before(journal, event["id"], other):
                yield f"{event['id']} came on {event['conn']} after {other}, but was sent before"
                break
        if not came or journal.sent[came[-1]]["number"] < sent["number"]:
            came.append(event["id"])


def _sent_before(journal, y, x):
    def first_places(tries):
        places = {}
        for conn, place in tries:
            places.setdefault(conn, place)
        return places

    of_y = first_places(journal.tries[y])
    of_x = first_places(journal.attempts[x])
    return bool(of_x) and all(of_y.get(conn, place + 1) < place for conn, place in of_x.items())


def gapped(journal):
    """
    I7: a device of chat, which says at each connect what it has seen, sees events one by one; but
    without an echo not of what it sent itself, if it has the answer.
    """
    newest, left_out = collections.Counter(), collections.Counter()
    done, seen = collections.defaultdict(set), collections.defaultdict(set)  # device -> ids
    for event in journal.events:
        device = device_of(event.get("conn", ""))
        if event["event"] == "answer" and event["how"] in APPLIED:
            done[device].add(event["id"])
        if event["event"] == "numbered":
            gap = event["number"] - newest[device] - 1
            seen[device].add(event.get("own"))
            left_out[device] += gap
            if gap < 0 or gap and (event.get("echo") or
                                   left_out[device] > len(done[device] - seen[device])):
                yield f"{event['conn']} saw event {event['number']} after {newest[device]}"
                left_out[device] -= gap
            newest[device] = event["number"]


def vanished(journal):
    """
    A message of callie has come, or its sender was told that it was discarded, of a group for each
    member: if his connection lived on, at a gateway that nobody has buried. In the events of a chat
    user who is away it waits for him.
    """
    last, waiting = -1, set()
    chatting = journal.users_by("chat")
    for quiet in journal.quiets():
        away = journal.events[quiet].get("away", ())
        unbroken = journal.events[quiet].get("unbroken", ())
        due = {(id, user) for id, user in waiting if user not in away}
        waiting -= due
        for id, tries in journal.tries.items():
            conn, place = tries[-1] if tries else (None, quiet)
            if last < place < quiet and journal.protocol_of.get(conn) == "callie" and \
                    journal.gateway_of[conn] in unbroken and journal.is_open(conn, quiet):
                for user in journal.receivers(id):
                    (waiting if user in away and user in chatting else due).add((id, user))
        for id, user in due:
            if user not in journal.had[id] and not _is_told(journal, id, user):
                yield f"{id} did not come to {user}, and nobody was told"
        last = quiet


def _is_told(journal, id, user):
    return any(answer.get("of") in (None, user) for _, answer in journal.answers.get(id, ()))


def contradicting(journal):
    """A retry is answered as before; a message goes to connections of its receiver."""
    owners = {event["id"]: journal.user_of[event["conn"]] for event in journal.events
              if event["event"] == "welcome" and "id" in event}
    for id, answers in journal.answers.items():
        told = {(answer["how"], tuple(sorted(answer.get("to") or ())))
                for _, answer in answers if answer["how"] in APPLIED}
        if len(told) > 1:
            yield f"{id} was answered {sorted(told)}"
        sent = journal.sent.get(id)
        if not sent:
            yield f"{id} was answered and never sent"
            continue
        for connection in {connection for _, to in told for connection in to}:
            if owners.get(connection, sent["to"]) != sent["to"]:
                yield f"{id} to {sent['to']} went to a connection of {owners[connection]}"


def unanswered(journal):
    """Sent on a connection that lived on until all was quiet, and not answered."""
    for quiet in journal.quiets():
        for id, tries in journal.tries.items():
            if journal.sent[id].get("anonymous"):
                continue
            answered = any(place < quiet for place, _ in journal.answers[id])
            for conn, place in tries:
                if place < quiet and not answered and journal.is_open(conn, quiet):
                    yield f"{id} was sent on {conn} and not answered"


def foreign(journal):
    """
    What came is what was sent, to whom it was sent, and always under the same id of its protocol.
    """
    names = {}
    for event in journal.events:
        if event["event"] != "came":
            continue
        id, conn = event["id"], event["conn"]
        sent = journal.sent.get(id)
        name = names.setdefault((id, journal.protocol_of.get(conn)), event.get("mid"))
        if name != event.get("mid"):
            yield f"{id} came as {name} and as {event['mid']}"
        if not sent:
            yield f"{id} came on {conn} and was never sent"
        elif (sent["number"], *_as_shown(journal, sent, conn)) != (event["number"], event["kind"],
                                                                   event["to"]):
            yield f"{id} was sent as {sent} and came as {event}"
        elif sent["kind"] != "topic" and journal.user_of.get(conn) not in journal.receivers(id):
            yield f"{id} to {sent['to']} came on {conn}"


def _as_shown(journal, sent, conn):
    """Kind and to as this connection has them: realtime does not know groups."""
    if sent["kind"] == "group" and journal.protocol_of.get(conn) == "realtime":
        return "direct", journal.user_of[conn]
    return sent["kind"], sent["to"]


def wrong_presence(journal):
    """At rest each follower has been told last what is true."""
    last = {}  # (conn of the follower, user) -> status
    connected = collections.Counter()
    for place, event in enumerate(journal.events):
        if event["event"] == "presence":
            last[event["conn"], event["of"]] = event["status"]
        elif event["event"] == "open":
            connected[event["user"]] += 1
        elif event["event"] == "closed":
            connected[journal.user_of.get(event["conn"])] -= 1
        elif event["event"] == "quiet":
            for (conn, user), status in last.items():
                if journal.is_open(conn, place) and (status == "offline") == (connected[user] > 0):
                    yield f"{user} has {connected[user]} connections, {conn} was told {status}"


JUDGEMENTS = (lost, lost_on_topics, doubled, reordered, gapped, vanished, contradicting, unanswered,
              foreign, wrong_presence)


def judge(events):
    """All findings, each (kind, sentence)."""
    journal = Journal(events)
    return [(judgement.__name__, sentence) for judgement in JUDGEMENTS
            for sentence in judgement(journal)]


def figures(events):
    """What the journal is about, in numbers."""
    journal = Journal(events)
    hows = collections.Counter(answers[-1][1]["how"] for answers in journal.answers.values())
    again = sum(len(arrivals) - len({conn.partition("/")[0] for _, conn in arrivals})
                for id, arrivals in journal.arrivals.items()
                if journal.sent.get(id, {}).get("kind") in ("direct", "group"))
    groups = {id for id, sent in journal.sent.items() if sent["kind"] == "group"}
    return {
        "messages": len(journal.sent),
        "to groups": len(groups),
        "arrivals from groups": sum(len(journal.arrivals[id]) for id in groups),
        "tries": sum(event["event"] == "sent" for event in events),
        **{how: hows[how] for how in (*APPLIED, "refused", "discarded")},
        "unknown": sum(id not in journal.answers and not sent.get("anonymous")
                       for id, sent in journal.sent.items()),
        "without an id": sum(bool(sent.get("anonymous")) for sent in journal.sent.values()),
        "arrivals": sum(map(len, journal.arrivals.values())),
        "repeats on a new connection": again,
        "events": sum(event["event"] == "numbered" for event in events),
        "read": len(journal.read),
        "connections": dict(collections.Counter(journal.protocol_of.values())),
    }
