"""
The verdict over a journal: what a promise of delivery.md does not allow. Pure functions: a journal
is a list of events in the order in which they happened (one process wrote all of them), each a dict
with "event" and:

    open      conn user [ack gateway protocol]
                                      a client is connected; ack: it acknowledges itself; gateway: the
                                      port it came to
    welcome   conn id                 its connection_id
    closed    conn code               nothing more comes on it
    sent      conn kind id to number [anonymous]
                                      kind "direct" (to: user) or "topic" (to: topic); a retry is
                                      one more of them; answers to anonymous ones are not known
    answer    conn id how [to]        delivered, queued, refused (503: not applied, or
                                      nobody knows), full (404 with
                                      queued: false), discarded (callie)
    came      conn kind id sender to number [mid]
                                      mid: the id it has in the protocol; id: its own
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
        self.read = {}                                 # (conn, id) -> place
        self.acknowledging = set()                     # users
        self.sent = {}                                 # id -> the first send
        self.attempts = collections.defaultdict(list)  # id -> [(conn, place)]
        self.tries = collections.defaultdict(list)     # the same, no refused ones
        self.answers = collections.defaultdict(list)   # id -> [(place, answer)]
        self.arrivals = collections.defaultdict(list)  # id -> [(place, conn)]
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

    def is_open(self, conn, place):
        return self.opened.get(conn, place + 1) < place < self.closed.get(conn, place + 1)

    def quiets(self):
        return [place for place, event in enumerate(self.events) if event["event"] == "quiet"]


def lost(journal):
    """Accepted, and not received when everything had settled; whose receiver stays away waits."""
    for quiet in journal.quiets()[-1:]:
        away = journal.events[quiet].get("away", ())
        for id, answers in journal.answers.items():
            sent = journal.sent.get(id)
            if not sent or sent["kind"] != "direct" or sent["to"] in away or journal.arrivals[id]:
                continue
            accepted = [answer for place, answer in answers
                        if place < quiet and answer["how"] in ACCEPTED]
            if accepted:
                yield f"{id} to {sent['to']} was answered {accepted[0]['how']} and never came"


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
        if journal.user_of.get(other) != user or kind != "direct":
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
        came = newest[event["conn"], event["sender"], event["to"]]
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
    A message of callie has come, or its sender was told that it was discarded: if his connection
    lived on, at a gateway that nobody has buried. In the events of a chat user who is away it waits
    for him.
    """
    last, waiting = -1, set()
    chatting = {journal.user_of[conn] for conn, protocol in journal.protocol_of.items()
                if protocol == "chat"}
    for quiet in journal.quiets():
        away = journal.events[quiet].get("away", ())
        unbroken = journal.events[quiet].get("unbroken", ())
        due = {id for id in waiting if journal.sent[id]["to"] not in away}
        waiting -= due
        for id, tries in journal.tries.items():
            conn, place = tries[-1] if tries else (None, quiet)
            if last < place < quiet and journal.protocol_of.get(conn) == "callie" and \
                    journal.gateway_of[conn] in unbroken and journal.is_open(conn, quiet):
                to = journal.sent[id]["to"]
                (waiting if to in away and to in chatting else due).add(id)
        for id in due:
            if not journal.arrivals[id] and not journal.answers[id]:
                yield f"{id} did not come, and nobody was told"
        last = quiet


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
    """What came is what was sent, to whom it was sent, and always under the same id."""
    names = {}
    for event in journal.events:
        if event["event"] != "came":
            continue
        sent = journal.sent.get(event["id"])
        if names.setdefault(event["id"], event.get("mid")) != event.get("mid"):
            yield f"{event['id']} came as {names[event['id']]} and as {event['mid']}"
        if not sent:
            yield f"{event['id']} came on {event['conn']} and was never sent"
        elif (sent["number"], sent["to"], sent["kind"]) != (event["number"], event["to"],
                                                            event["kind"]):
            yield f"{event['id']} was sent as {sent} and came as {event}"
        elif sent["kind"] == "direct" and journal.user_of.get(event["conn"]) != sent["to"]:
            yield f"{event['id']} to {sent['to']} came on {event['conn']}"


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
                if journal.sent.get(id, {}).get("kind") == "direct")
    return {
        "messages": len(journal.sent),
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
