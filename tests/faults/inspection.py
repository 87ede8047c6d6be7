"""
What the keys of a stack at rest must look like (delivery.md, I1 to I8, as far as Redis shows them).
A Snapshot is all keys as of one moment; a check is a function of it that yields a sentence for each
thing that is wrong.

At rest: no client sends, all that was stopped goes on again, the dead are buried. Heartbeats and
the renewal of leases never rest, so snapshots are taken until one is clean.
"""

import collections
import functools
import re
import time

from frames import Unreadable, read_frames
from records import events, fields_of, items
from resp import Redis

INDEX_BITS = 20
ROUTER_SIGN_MS = 5000   # a router signs every second
SOURCE_KEPT_MS = 10 * 60 * 1000 + 60_000
OUT_ENTRIES_MAX = 32    # answers to heartbeats whose confirmation travels with the next one
MESSAGE_OVERHEAD = 64   # router/message.c: what an entry costs beside its texts

READERS = {
    "hash": lambda key: ("HGETALL", key),
    "zset": lambda key: ("ZRANGE", key, "0", "-1", "WITHSCORES"),
    "stream": lambda key: ("XRANGE", key, "-", "+"),
    "string": lambda key: ("GET", key),
}
# What a partition owns: its type, and whether a gateway or a user stands behind the colon.
PARTITION_KEYS = {
    "state": ("hash", None), "lease": ("string", None), "in": ("stream", None),
    "out": ("stream", "gateway"), "sources": ("hash", None), "gateways": ("hash", None),
    "conns": ("hash", "gateway"), "subs": ("hash", "gateway"), "user": ("hash", "user"),
    "seen": ("hash", None), "mailbox": ("stream", "user"), "timers": ("zset", None),
    "recent": ("stream", None), "dead": ("stream", None), "unread": ("hash", "user"),
    "histories": ("hash", None), "topic": ("stream", "topic"), "events": ("stream", "user"),
    "chats": ("zset", "user"), "sent": ("stream", "user"), "dialog": ("hash", "conversation"),
    "group": ("hash", "group"), "log": ("stream", "conversation"),
    "changes": ("hash", "conversation"), "delivered": ("stream", "conversation"),
    "read": ("stream", "conversation"),
}
GLOBAL_KEYS = {"deployment": "hash", "routers": "zset", "process": "hash", "name": "string"}
CONNECTION_FLAG_ACK = 1
CONNECTION_FLAG_KEEP = 2
CONNECTION_FLAG_EVENTS = 4
CONNECTION_FLAG_HIDDEN = 16
CONNECTION_BEHIND = 1 << 16  # router/events.h
CONNECTION_REPLAYING = 1 << 20  # router/state.h
EVENT_NEW = b"1"             # common/frame.h


def decode(name):
    return re.sub(rb"%([0-9A-F]{2})", lambda code: bytes([int(code[1], 16)]),
                  name.replace(b"|", b"\n"))


def number(text):
    """b"12-34" as a pair that compares as numbers do."""
    epoch, _, sequence = text.partition(b"-")
    return int(epoch), int(sequence or 0)


def process_of(id):
    """The name of the process: an id is the name and 64 random bits."""
    return id.rpartition(b"-")[0]


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


class Partition:
    """Its keys by name; a key that is not there is empty."""

    def __init__(self, index):
        self.index = index
        self.keys = collections.defaultdict(dict)  # what -> {name or None: value}
        self.ttl = {}                              # (what, name) -> ms or -1

    def get(self, what):
        return self.keys[what].get(None) or {}

    def stream(self, what):
        return self.keys[what].get(None) or []

    def connections(self):
        """user -> flags of his connections"""
        users = collections.defaultdict(list)
        for fields in self.keys["conns"].values():
            for value in fields.values():
                _, flags, _, user = value.partition(b"\n")[0].split(b" ", 3)
                users[user].append(int(flags))
        return users


class Snapshot:
    def __init__(self, now_ms=0):
        self.now_ms = now_ms
        self.partitions = collections.defaultdict(lambda: None)
        self.globals = collections.defaultdict(dict)
        self.ttl = {}
        self.unknown = []  # keys that no grammar names
        self.previous = None

    def partition(self, index):
        if self.partitions[index] is None:
            self.partitions[index] = Partition(index)
        return self.partitions[index]

    def all(self):
        return sorted((p for p in self.partitions.values() if p), key=lambda p: p.index)

    def processes(self, kind):
        return {name for name, fields in self.globals["process"].items()
                if fields.get(b"kind") == kind}

    def keep(self, place, value, ttl):
        index, what, name = place
        if index is None:
            self.globals[what][name] = value
            self.ttl[what, name] = ttl
        else:
            self.partition(index).keys[what][name] = value
            self.partition(index).ttl[what, name] = ttl


def place_of(key, prefix):
    """(partition or None, what, name or None) and the type; None for a key of no grammar."""
    rest = key.removeprefix(prefix)
    found = re.fullmatch(rb"\{(\d+)\}:([a-z]+)(?::(.*))?", rest, re.DOTALL)
    table = {what: type for what, (type, _) in PARTITION_KEYS.items()} if found else GLOBAL_KEYS
    if not found:
        found = re.fullmatch(rb"()([a-z]+)(?::(.*))?", rest, re.DOTALL)
    what = found[2].decode() if found else None
    if what not in table:
        return None, None
    name = decode(found[3]) if found[3] is not None else None
    return (int(found[1]) if found[1] else None, what, name), table[what]


def take_snapshot(redis, prefix=b"trunkline:"):
    keys, cursor = set(), b"0"
    while True:
        cursor, page = redis("SCAN", cursor, "MATCH", prefix + b"*", "COUNT", "1000")
        keys.update(page)
        if cursor == b"0":
            break
    places = {}
    unknown = []
    for key in sorted(keys):
        if key.startswith((prefix + b"auth:", prefix + b"extensions")):
            continue  # accounts and keys: not of this protocol
        place, type = place_of(key, prefix)
        if place is None:
            unknown.append(key)
        else:
            places[key] = place, type
    commands = [("TIME",)]
    for key, (_, type) in places.items():
        commands += [READERS[type](key), ("PTTL", key)]
    (seconds, micros), *replies = redis.together(commands)
    snapshot = Snapshot(int(seconds) * 1000 + int(micros) // 1000)
    snapshot.unknown = unknown
    for (place, type), value, ttl in zip(places.values(), replies[::2], replies[1::2]):
        if isinstance(value, Exception):
            snapshot.unknown.append(f"{place}: {value}".encode())
        elif ttl != -2:  # gone meanwhile
            snapshot.keep(place, pairs(value) if type in ("hash", "zset") else value, ttl)
    return snapshot


# ---- the checks ----------------------------------------------------------------------------------

def keys_are_known(snapshot):
    for key in snapshot.unknown:
        yield f"no grammar names the key {key.decode(errors='replace')}"


def input_is_empty(snapshot):
    """I2: what is in the input is not applied yet."""
    for p in snapshot.all():
        if entries := p.stream("in"):
            senders = sorted({pairs(fields).get(b"g", b"?").decode() for _, fields in entries})
            yield f"{p.index}: {len(entries)} entries of {senders} wait in the input"


def dead_is_empty(snapshot):
    """I8"""
    for p in snapshot.all():
        for id, fields in p.stream("dead"):
            yield f"{p.index}: dead has {id.decode()}: {pairs(fields)}"


def partitions_are_owned(snapshot):
    """Each partition has one owner, who lives, and nobody has more than his share."""
    count = int(snapshot.globals["deployment"].get(None, {}).get(b"partitions", 0))
    if count == 0:
        yield "no deployment"
        return
    signs = snapshot.globals["routers"].get(None, {})
    held = collections.Counter()
    for index in range(count):
        p = snapshot.partition(index)
        lease = p.keys["lease"].get(None)
        if not lease:
            yield f"{index}: nobody holds the lease"
            continue
        held[lease] += 1
        owner = p.get("state").get(b"owner")
        if lease != owner:
            yield f"{index}: {lease} holds the lease, the state names {owner}"
        if snapshot.now_ms - int(float(signs.get(lease, 0))) > ROUTER_SIGN_MS:
            yield f"{index}: the owner {lease.decode()} gives no sign of life"
        if process_of(lease) not in snapshot.processes(b"router"):
            yield f"{index}: the owner {lease.decode()} is no living process"
    for lease, partitions in held.items():
        if signs and partitions > -(-count // len(signs)):
            yield (f"{lease.decode()} holds {partitions} of {count} partitions, "
                   f"with {len(signs)} routers")


def gateways_live(snapshot):
    """I6: no key names a dead gateway; every living one is known everywhere, under one id."""
    living = snapshot.processes(b"gateway")
    ids = collections.defaultdict(set)
    for p in snapshot.all():
        known = p.get("gateways")
        for id in known:
            ids[process_of(id)].add(id)
            if process_of(id) not in living:
                yield f"{p.index}: gateway {id.decode()} is no living process"
        for name in living - {process_of(id) for id in known}:
            yield f"{p.index}: the living gateway {name.decode()} has not announced itself"
        for what in ("out", "conns", "subs"):
            for id in p.keys[what]:
                if id not in known and p.ttl[what, id] == -1:
                    yield f"{p.index}: {what} of {id.decode()} is left over"
    for name, several in ids.items():
        if len(several) > 1:
            yield f"{name.decode()} is known as {sorted(several)}"


def sources_end(snapshot):
    """The numbers of gateways that are gone are kept for a while, and then forgotten."""
    for p in snapshot.all():
        for id, value in p.get("sources").items():
            _, _, forget = value.partition(b" ")
            if re.fullmatch(rb"p\d+", id):
                continue  # another partition
            if not forget and id not in p.get("gateways"):
                yield f"{p.index}: the number of {id.decode()} is kept for ever"
            if forget and not snapshot.now_ms < int(forget) <= snapshot.now_ms + SOURCE_KEPT_MS:
                yield f"{p.index}: the number of {id.decode()} is kept until {int(forget)}"


def commits_rise(snapshot):
    """I1: the state has its numbers; they never fall from one snapshot to the next."""
    for p in snapshot.all():
        now = p.get("state")
        if not all(now.get(field, b"").isdigit() for field in (b"epoch", b"commit")):
            yield f"{p.index}: no epoch and commit in the state: {now}"
            continue
        old = snapshot.previous and snapshot.previous.partition(p.index).get("state")
        if old and ((int(now[b"epoch"]), int(now[b"commit"])) <
                    (int(old[b"epoch"]), int(old[b"commit"]))):
            yield f"{p.index}: epoch and commit fell from {old} to {now}"


def outputs_are_chained(snapshot):
    """I1: ids are those of commits, and each entry names the one before it."""
    for p in snapshot.all():
        state = p.get("state")
        newest = int(state.get(b"epoch") or 0), int(state.get(b"commit") or 0) << INDEX_BITS
        for gateway, entries in p.keys["out"].items():
            yield from _broken_chain(f"{p.index}: out of {gateway.decode()}", entries, newest)


def _broken_chain(where, entries, newest):
    before = None
    for id, fields in entries:
        at = number(id)
        try:
            (name, head), *_ = read_frames(pairs(fields).get(b"e", b""))
        except (Unreadable, ValueError) as problem:
            yield f"{where}: {id.decode()} cannot be read: {problem}"
            continue
        if at[1] % (1 << INDEX_BITS) or at > newest:
            yield f"{where}: {id.decode()} is the number of no commit"
        if name != "OUTPUT_HEAD":
            yield f"{where}: {id.decode()} begins with {name}"
        elif before and tuple(head["previous"]) != before:
            yield f"{where}: {id.decode()} follows {before}, but names {head['previous']}"
        before = at


def outputs_are_confirmed(snapshot):
    """I3: nothing durable is pending, and what was confirmed is trimmed."""
    for p in snapshot.all():
        for gateway, entries in p.keys["out"].items():
            if len(entries) > OUT_ENTRIES_MAX:
                yield f"{p.index}: out of {gateway.decode()} has {len(entries)} entries"
            for id, fields in entries:
                yield from _unconfirmed(f"{p.index}: out of {gateway.decode()}: {id.decode()}",
                                        pairs(fields).get(b"e", b""))


def _unconfirmed(where, entry):
    try:
        frames = read_frames(entry)
    except Unreadable:
        return  # another check says so
    for name, fields in frames:
        if name in ("MESSAGE_DELIVERY", "EVENT_DELIVERY"):
            what = (f"{fields['id'].decode()} to {fields['to'].decode()}"
                    if name == "MESSAGE_DELIVERY" else f"event {fields['event']}")
            yield f"{where}: {what} on {fields['connections']} is unconfirmed"


def nothing_is_seen(snapshot):
    """S7: `seen` goes when nothing of the user is pending."""
    for p in snapshot.all():
        for user, upto in p.get("seen").items():
            yield f"{p.index}: seen of {user.decode()} is still {upto.decode()}"


def mailboxes_are_counted(snapshot):
    for p in snapshot.all():
        for user in set(p.keys["mailbox"]) | set(p.keys["user"]):
            record = p.keys["user"].get(user, {})
            entries = p.keys["mailbox"].get(user, [])
            size = sum(_message_size(fields_of(entry)) for entry in entries)
            told = int(record.get(b"mailbox", 0)), int(record.get(b"mailbox_bytes", 0))
            if told != (len(entries), size):
                yield (f"{p.index}: the record of {user.decode()} tells {told[0]} messages of "
                       f"{told[1]} bytes, the mailbox has {len(entries)} of {size}")


def _message_size(fields):
    return MESSAGE_OVERHEAD + sum(len(fields.get(name, b""))
                                  for name in (b"from", b"chat", b"id", b"body", b"metadata"))


def mail_of_the_connected_is_delivered(snapshot):
    """I5: but for those who acknowledge themselves, nothing waits for somebody who is here."""
    for p in snapshot.all():
        for user, flags in p.connections().items():
            waiting = p.keys["mailbox"].get(user, [])
            waits_for = CONNECTION_FLAG_ACK | CONNECTION_FLAG_KEEP
            if b"keep" in p.keys["user"].get(user, {}):
                continue  # kept until it is read
            if all(flag & CONNECTION_FLAG_EVENTS for flag in flags):
                continue  # of one who has never asked for events
            if waiting and not any(flag & waits_for for flag in flags):
                yield (f"{p.index}: {user.decode()} is connected and {len(waiting)} messages wait, "
                       f"the first is {waiting[0][0].decode()}")


def kept_mail_is_counted(snapshot):
    """S13: of one whose messages are kept, what waits is what is above the watermark, the index
    names what is in the mailbox, and nothing waits for him while he is here."""
    for p in snapshot.all():
        for user in {user for user, record in p.keys["user"].items() if b"keep" in record} | set(
                p.keys["unread"]):
            record, entries = p.keys["user"].get(user, {}), p.keys["mailbox"].get(user, [])
            watermark = number(record.get(b"delivered", b"0-0"))
            above = sum(number(id) > watermark for id, _ in entries)
            flags = p.connections().get(user, [])
            who = f"{p.index}: of {user.decode()}"
            if int(record.get(b"waiting", 0)) != above:
                yield f"{who} {above} messages wait, his record tells {record.get(b'waiting')}"
            for id in set(p.keys["unread"].get(user, {})) - {id for id, _ in entries}:
                yield f"{who} the index names {id.decode()}, which is not there"
            for id, _ in entries:
                if number(id) <= watermark and id not in p.keys["unread"].get(user, {}):
                    yield f"{who} the index lacks {id.decode()}"
            if any(flag & CONNECTION_REPLAYING for flag in flags):
                yield f"{who} a connection waits for what was there before it"
            if above and flags and not any(flag & (CONNECTION_FLAG_ACK | CONNECTION_FLAG_EVENTS)
                                           for flag in flags):
                yield f"{who} {above} messages wait, and he is connected"


def no_mail_waits(snapshot, away=()):
    """Only when asked for: but those away all users are connected, and have acknowledged all."""
    for p in snapshot.all():
        for user, entries in p.keys["mailbox"].items():
            if entries and user not in away:
                yield (f"{p.index}: {len(entries)} messages wait for {user.decode()}, the first is "
                       f"{entries[0][0].decode()}")


def presence_is_true(snapshot):
    """Who has a connection is not offline, who has none is; no grace time runs."""
    for p in snapshot.all():
        connected = {user: [flag for flag in flags if not flag & CONNECTION_FLAG_HIDDEN]
                     for user, flags in p.connections().items()}
        for user in set(connected) | set(p.keys["user"]):
            status = p.keys["user"].get(user, {}).get(b"status", b"offline")
            if (status == b"offline") == bool(connected.get(user)):
                yield (f"{p.index}: {user.decode()} is {status.decode()} with "
                       f"{len(connected.get(user, ()))} connections")
        for timer in p.get("timers"):
            yield f"{p.index}: the timer {timer.decode()} runs"


USER_KEYS = [what for what, (_, name) in PARTITION_KEYS.items() if name == "user"]


def users_have_one_partition(snapshot):
    homes = collections.defaultdict(set)
    for p in snapshot.all():
        for user in set().union(*(p.keys[what] for what in USER_KEYS), p.connections()):
            homes[user].add(p.index)
    for user, several in homes.items():
        if len(several) > 1:
            yield f"{user.decode()} has keys in partitions {sorted(several)}"


def keys_end(snapshot):
    """What says that a process lives ends with it; nothing else ends by itself."""
    for (what, name), ttl in snapshot.ttl.items():
        if (what in ("process", "name")) == (ttl == -1):
            yield f"{what} {name} lives for {ttl} ms"
    for p in snapshot.all():
        for (what, name), ttl in p.ttl.items():
            if what == "out" and name not in p.get("gateways"):
                continue  # "who are you", and the last word to one that leaves
            ended = what == "group" and b"deleted" in p.keys[what][name]
            if (what in ("lease", "events") or ended) == (ttl == -1):
                yield f"{p.index}: {what} {name} lives for {ttl} ms"


def numbers(entries, first):
    """Of the items from the first that counts on; entries that end before it must be gone."""
    if any(number(id)[0] < first for id, _ in entries):
        return []
    return [item for item, _ in items(entries) if item >= first]


def events_are_contiguous(snapshot):
    """I7: of each user who follows, from the oldest that is held to the newest."""
    for p in snapshot.all():
        for user in set(p.keys["events"]) | {user for user, record in p.keys["user"].items()
                                             if b"event" in record}:
            record = p.keys["user"].get(user, {})
            held = numbers(p.keys["events"].get(user, []), int(record.get(b"event_first", 1)))
            told = int(record.get(b"event_first", 1)), int(record.get(b"event", 0))
            if held != list(range(told[0], told[1] + 1)):
                yield (f"{p.index}: {user.decode()} has events {held[:1]} to {held[-1:]} "
                       f"({len(held)}), his record tells {told}")
            if record.get(b"chat") == b"draining":
                yield f"{p.index}: the mailbox of {user.decode()} is on its way into dialogs"


def followers_have_all(snapshot):
    """S12: at rest nobody is behind."""
    for p in snapshot.all():
        for user, flags in p.connections().items():
            if any(flag & CONNECTION_BEHIND for flag in flags):
                yield f"{p.index}: a connection of {user.decode()} waits for events"


def conversations(p):
    """name -> its object"""
    yield from p.keys["dialog"].items()
    for id, fields in p.keys["group"].items():
        yield b"group:" + id, fields


def logs_are_numbered(snapshot):
    """S11: a log ends with the newest message; changes and marks are of what was posted."""
    for p in snapshot.all():
        objects = dict(conversations(p))
        for name in {*p.keys["log"], *p.keys["changes"]} - set(objects):
            yield f"{p.index}: a log or changes of no conversation: {name!r}"
        for name, fields in objects.items():
            last = int(fields.get(b"last", 0))
            first = int(fields.get(b"first", 1))
            held = numbers(p.keys["log"].get(name, []), first)
            if b"deleted" not in fields and held != list(range(first, last + 1)):
                yield f"{p.index}: the log of {name!r} ends with {held[-1:]}, not with {last}"
            if last and not held:
                yield f"{p.index}: the log of {name!r} is empty after {last} messages"
            for message in p.keys["changes"].get(name, {}):
                if not held or not held[0] <= int(message) <= last:
                    yield f"{p.index}: a change of {message.decode()} in {name!r}, which is not held"


def marks_are_told(snapshot):
    """S11: the streams of marks end with what the member's field says."""
    for p in snapshot.all():
        told = {}
        for name, fields in conversations(p):
            for field, value in fields.items():
                if field.startswith(b"+"):
                    delivered, read, since, *_ = map(int, value.split())
                    told["delivered", name + b"\n" + field[1:]] = delivered, since
                    told["read", name + b"\n" + field[1:]] = read, since
                    if read > delivered or delivered > int(fields.get(b"last", 0)):
                        yield f"{p.index}: {field.decode()} of {name!r} has marks {value.decode()}"
        for what in ("delivered", "read"):
            for name, entries in p.keys[what].items():
                mark, since = told.get((what, name), (None, None))
                if mark is None or number(entries[-1][0])[0] != mark:
                    yield f"{p.index}: {what} of {name!r} ends with {entries[-1][0]}, not {mark}"
        for (what, name), (mark, since) in told.items():
            if mark > since and name not in p.keys[what]:
                yield f"{p.index}: {what} of {name!r} has no entry for {mark}"


def _conversation_of(user, chat):
    return chat if chat.startswith(b"group:") else b"\n".join(sorted((user, chat)))


def logs_agree(snapshot):
    """I7: new messages come in each member's events in the order of the log, once, as they are."""
    logs = {}
    for p in snapshot.all():
        for name, entries in p.keys["log"].items():
            logs[name] = dict(items(entries))
    for p in snapshot.all():
        for user, entries in p.keys["events"].items():
            newest = {}
            for id, event in events(entries):
                if event[b"kind"] != EVENT_NEW:
                    continue
                name, message = _conversation_of(user, event[b"chat"]), int(event[b"message"])
                where = f"{p.index}: event {id} of {user.decode()}"
                if message <= newest.get(name, 0):
                    yield f"{where}: message {message} of {name!r} after {newest[name]}"
                newest[name] = message
                posted = logs.get(name, {}).get(message)
                if posted and any(posted.get(field) != event.get(field)
                                  for field in (b"from", b"at", b"protocol", b"content", b"body")):
                    yield f"{where} is not message {message} of {name!r}"
    for p in snapshot.all():
        for user, chats in p.keys["chats"].items():
            for chat in chats:
                if _conversation_of(user, chat) not in logs and not chat.startswith(b"group:"):
                    yield f"{p.index}: {user.decode()} has a chat {chat.decode()} without a log"


CHECKS = [keys_are_known, input_is_empty, dead_is_empty, partitions_are_owned, gateways_live,
          sources_end, commits_rise, outputs_are_chained, outputs_are_confirmed,
          nothing_is_seen, mailboxes_are_counted, mail_of_the_connected_is_delivered,
          kept_mail_is_counted,
          presence_is_true, users_have_one_partition, keys_end, events_are_contiguous,
          followers_have_all, logs_are_numbered, marks_are_told, logs_agree]


def problems_of(snapshot, checks=None):
    return [f"{check.__name__}: {problem}" for check in checks or CHECKS
            for problem in check(snapshot)]


# ---- more of them, for those who know who is there -----------------------------------------------

def no_mail_but_of(away):
    """no_mail_waits, for users (bytes) who are not away."""
    return functools.wraps(no_mail_waits)(lambda snapshot: no_mail_waits(snapshot, away))


def connections_are(expected):
    """The connections of each user (bytes) are so many."""
    def connections_are_those_of_clients(snapshot):
        known = collections.Counter()
        for p in snapshot.all():
            known.update({user: len(flags) for user, flags in p.connections().items()})
        for user in {*known, *expected}:
            if known[user] != expected.get(user, 0):
                yield (f"{user.decode()} has {expected.get(user, 0)} connections, the router "
                       f"knows {known[user]}")
    return connections_are_those_of_clients


def waiting_in_mailboxes(snapshot, pattern):
    """What waits: user -> [what the pattern finds in the bodies]"""
    return {user.decode(): [found[1].decode() for entry in entries
                            if (found := re.search(pattern, fields_of(entry).get(b"body", b"")))]
            for p in snapshot.all() for user, entries in p.keys["mailbox"].items()}


def announcements(snapshot):
    """partition -> {gateway: its announcement}; another one after each burial, and each start"""
    return {p.index: {process_of(id).decode(): (id, nonce)
                      for id, nonce in p.get("gateways").items()} for p in snapshot.all()}


def homes_of_mail(snapshot):
    """user -> the partition where messages wait for him"""
    return {user.decode(): p.index for p in snapshot.all() for user in p.keys["mailbox"]}


def inspect(url, patience=10.0, prefix=b"trunkline:", more=()):
    """
    [] as soon as a snapshot passes all checks (and those of more), else what is wrong in the last
    one when patience (seconds) is over.
    """
    redis = Redis(url)
    deadline = time.monotonic() + patience
    snapshot = None
    try:
        while True:
            previous, snapshot = snapshot, take_snapshot(redis, prefix)
            snapshot.previous = previous
            problems = problems_of(snapshot, [*CHECKS, *more])
            if not problems or time.monotonic() > deadline:
                return problems
            time.sleep(0.1)
    finally:
        redis.close()
