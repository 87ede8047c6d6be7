"""
Each leftover, planted into the keys of a clean stack at rest, is named; the clean stack passes.
"""

import os
import subprocess

import pytest

from frames import FRAMES
from harness import Redis as RedisProcess
from inspection import CHECKS, Snapshot, connections_are, no_mail_waits, problems_of
from resp import Redis
from waiting import wait_until

INSPECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inspect")
NOW = 1_700_000_000_000
ROUTER, GATEWAY, DEAD = b"r-0123456789abcdef", b"g-00000000000000aa", b"x-00000000000000bb"


def head(epoch, commit):
    """An entry of nothing but its OUTPUT_HEAD: [200, [epoch, sequence], 7]."""
    return (b"\x93\xcc\xc8\x92" + b"\xcf" + epoch.to_bytes(8, "big") + b"\xcf" +
            (commit << 20).to_bytes(8, "big") + b"\x07")


def text(value):
    return bytes([0xa0 | len(value)]) + value


def delivery():
    """A message on its way, with all fields that the frame has now."""
    id, fields = next((id, fields) for id, (name, fields) in FRAMES.items()
                      if name == "MESSAGE_DELIVERY")
    values = {"connections": b"\x91\x05", "number": b"\x92\x01\x02", "id": text(b"m1"),
              "from": text(b"alice"), "to": text(b"bob"), "chat": text(b""),
              "body": b"\xc4\x01x", "metadata": b"\xc4\x00"}
    return (b"\xdc" + (len(fields) + 1).to_bytes(2, "big") + b"\xcc" + bytes([id]) +
            b"".join(values.get(field, b"\x00") for field in fields))


def out(*commits, extra=b""):
    """Entries of these commits of epoch 9, each after the one before."""
    return [[b"9-%d" % (commit << 20), [b"e", head(9, before) + extra]]
            for before, commit in zip((0, *commits), commits)]


def message(id=b"9-1048577"):
    return [id, [b"message", b"from 5:alice id 2:m1 body 5:hello\n"]]


DIALOG = b"ann\nbob"


def post(message):
    return [b"%d-0" % message, [b"%d" % message, b"from 3:ann id 2:a%d body 2:hi\n" % message]]


def event(id, message, kind=b"1"):
    return [b"%d-0" % id, [b"%d" % id, b"kind 1:%s chat 3:ann message 1:%d body 2:hi\n"
                           % (kind, message)]]


def clean():
    """One partition, one router, one gateway; bob is connected, carol is away with a message."""
    snapshot = Snapshot(NOW)
    put = snapshot.keep
    put((None, "deployment", None), {b"partitions": b"1"}, -1)
    put((None, "routers", None), {ROUTER: b"%d" % (NOW - 100)}, -1)
    put((None, "process", b"r"), {b"kind": b"router"}, 9000)
    put((None, "process", b"g"), {b"kind": b"gateway"}, 9000)
    put((None, "name", b"g"), b"gateway 17", 5000)
    put((0, "state", None), {b"epoch": b"9", b"commit": b"5", b"owner": ROUTER}, -1)
    put((0, "lease", None), ROUTER, 900)
    put((0, "in", None), [], -1)
    put((0, "gateways", None), {GATEWAY: b"3"}, -1)
    put((0, "sources", None), {GATEWAY: b"17", b"p0": b"9-4",
                               DEAD: b"4 %d" % (NOW + 1000)}, -1)
    put((0, "out", GATEWAY), out(3, 4, 5), -1)
    put((0, "conns", GATEWAY), {b"5": b"3 0 0 bob", b"6": b"2 12 3 bob"}, -1)
    put((0, "subs", GATEWAY), {b"=news": b"1"}, -1)
    put((0, "user", b"bob"), {b"status": b"online", b"mailbox": b"0", b"mailbox_bytes": b"0",
                              b"chat": b"1", b"event": b"3", b"event_first": b"2"}, -1)
    put((0, "events", b"bob"), [event(2, 4), event(3, 5)], 9000)
    put((0, "chats", b"bob"), {b"ann": b"1"}, -1)
    put((0, "dialog", DIALOG), {b"last": b"5", b"first": b"3", b"+ann": b"0 0 0 5 1", b"+bob": b"4 3 0 0 1"}, -1)
    put((0, "log", DIALOG), [post(3), post(4), post(5)], -1)
    put((0, "changes", DIALOG), {b"4": b"delete 1"}, -1)
    put((0, "delivered", DIALOG + b"\nbob"), [[b"4-0", [b"at", b"1"]]], -1)
    put((0, "read", DIALOG + b"\nbob"), [[b"3-0", [b"at", b"1"]]], -1)
    put((0, "group", b"old"), {b"deleted": b"1"}, 9000)
    put((0, "user", b"carol"), {b"status": b"offline", b"mailbox": b"1",
                                b"mailbox_bytes": b"%d" % (64 + 5 + 2 + 5)}, -1)
    put((0, "mailbox", b"carol"), [message()], -1)
    put((0, "user", b"dora"), {b"status": b"offline", b"mailbox": b"2", b"keep": b"99 1",
                               b"waiting": b"1", b"delivered": b"9-1048577",
                               b"mailbox_bytes": b"%d" % (2 * (64 + 5 + 2 + 5))}, -1)
    put((0, "mailbox", b"dora"), [message(), message(b"9-1048578")], -1)
    put((0, "unread", b"dora"), {b"9-1048577": b"76 1 1 alice\nm1",
                                 b"9-1048578": b"76 1 1 alice\nm1"}, -1)
    return snapshot


def keep(*place, value, ttl=-1):
    return lambda snapshot: snapshot.keep(place, value, ttl)


def change(what, name, **fields):
    def plant(snapshot):
        hash = snapshot.partition(0).keys[what][name]
        hash.update({field.encode(): value for field, value in fields.items()})
    return plant


def unknown_key(snapshot):
    snapshot.unknown.append(b"trunkline:{0}:somewhat")


def fallen_commit(snapshot):
    snapshot.previous = clean()
    change("state", None, commit=b"4")(snapshot)
    snapshot.partition(0).keys["out"].clear()


PLANTED = {
    "keys_are_known": unknown_key,
    "input_is_empty": keep(0, "in", None, value=[[b"1-1", [b"g", GATEWAY, b"n", b"1"]]]),
    "dead_is_empty": keep(0, "dead", None, value=[[b"1-1", [b"what", b"effect"]]]),
    "partitions_are_owned": keep(0, "lease", None, value=b"other-0123456789abcdef", ttl=900),
    "partitions_are_owned: nobody": keep(0, "lease", None, value=None, ttl=900),
    "partitions_are_owned: dead owner":
        keep(None, "routers", None, value={ROUTER: b"%d" % (NOW - 60_000)}),
    "partitions_are_owned: unfair":
        keep(None, "routers", None, value={b"r2-1": b"%d" % NOW, b"r3-1": b"%d" % NOW}),
    "gateways_live": keep(0, "gateways", None, value={GATEWAY: b"3", DEAD: b"1"}),
    "gateways_live: out": keep(0, "out", DEAD, value=[]),
    "gateways_live: conns": keep(0, "conns", DEAD, value={}),
    "gateways_live: twice":
        keep(0, "gateways", None, value={GATEWAY: b"3", b"g-00000000000000cc": b"1"}),
    "gateways_live: unknown": keep(None, "process", b"g2", value={b"kind": b"gateway"}, ttl=9000),
    "sources_end": keep(0, "sources", None, value={GATEWAY: b"17", DEAD: b"4"}),
    "sources_end: too old":
        keep(0, "sources", None, value={GATEWAY: b"1", DEAD: b"4 %d" % (NOW - 1)}),
    "commits_rise": change("state", None, commit=b""),
    "commits_rise: fell": fallen_commit,
    "outputs_are_chained":
        keep(0, "out", GATEWAY, value=[out(3)[0], [b"9-%d" % (5 << 20), [b"e", head(9, 4)]]]),
    "outputs_are_chained: from the future": keep(0, "out", GATEWAY, value=out(6)),
    "outputs_are_chained: no commit's":
        keep(0, "out", GATEWAY, value=[[b"9-1", [b"e", head(9, 0)]]]),
    "outputs_are_chained: garbage":
        keep(0, "out", GATEWAY, value=[[b"9-1048576", [b"e", b"\x93\xcc"]]]),
    "outputs_are_confirmed": keep(0, "out", GATEWAY, value=out(5, extra=delivery())),
    "outputs_are_confirmed: not trimmed":
        keep(0, "out", GATEWAY, value=[[b"8-%d" % (n << 20), [b"e", head(8, n - 1)]]
                                       for n in range(1, 60)]),
    "nothing_is_seen": keep(0, "seen", None, value={b"bob": b"9-1048577"}),
    "mailboxes_are_counted": change("user", b"carol", mailbox=b"2"),
    "mailboxes_are_counted: bytes": change("user", b"carol", mailbox_bytes=b"75"),
    "mail_of_the_connected_is_delivered":
        keep(0, "conns", GATEWAY, value={b"5": b"3 0 0 bob", b"6": b"3 0 0 carol"}),
    "kept_mail_is_counted": change("user", b"dora", waiting=b"2"),
    "kept_mail_is_counted: not there":
        keep(0, "unread", b"dora", value={b"9-1048577": b"", b"9-7": b"76 1 1 alice\nm1"}),
    "kept_mail_is_counted: not in the index": keep(0, "unread", b"dora", value={}),
    "kept_mail_is_counted: replaying":
        keep(0, "conns", GATEWAY, value={b"5": b"3 0 0 bob", b"7": b"1 1048578 9-7 dora"}),
    "kept_mail_is_counted: connected":
        keep(0, "conns", GATEWAY, value={b"5": b"3 0 0 bob", b"7": b"1 2 0 dora"}),
    "presence_is_true": change("user", b"bob", status=b"offline"),
    "presence_is_true: nobody is there": change("user", b"carol", status=b"online"),
    "presence_is_true: a timer": keep(0, "timers", None, value={b"grace:carol": b"1"}),
    "users_have_one_partition": keep(1, "user", b"bob", value={b"status": b"offline"}),
    "keys_end": keep(None, "process", b"g", value={b"kind": b"gateway"}, ttl=-1),
    "keys_end: name": keep(None, "name", b"g", value=b"gateway 17"),
    "keys_end: lease": keep(0, "lease", None, value=ROUTER, ttl=-1),
    "keys_end: events for ever": keep(0, "events", b"bob", value=[event(2, 4), event(3, 5)]),
    "events_are_contiguous": keep(0, "events", b"bob", value=[event(2, 4)], ttl=9000),
    "events_are_contiguous: none": keep(0, "events", b"ann", value=[event(1, 4)], ttl=9000),
    "events_are_contiguous: more than the record tells":
        keep(0, "events", b"bob", value=[event(1, 3), event(2, 4), event(3, 5)], ttl=9000),
    "events_are_contiguous: draining": change("user", b"bob", chat=b"draining"),
    "followers_have_all": keep(0, "conns", GATEWAY, value={b"6": b"2 65548 2 bob"}),
    "logs_are_numbered": keep(0, "log", DIALOG, value=[post(3), post(5)]),
    "logs_are_numbered: too short": keep(0, "log", DIALOG, value=[post(3), post(4)]),
    "logs_are_numbered: of nothing": keep(0, "log", b"x\ny", value=[post(1)]),
    "logs_are_numbered: changes": keep(0, "changes", DIALOG, value={b"2": b"delete 1"}),
    "marks_are_told": change("dialog", DIALOG, **{"+bob": b"3 3 0 0 1"}),
    "marks_are_told: read and not delivered": change("dialog", DIALOG, **{"+bob": b"2 3 0 0 1"}),
    "marks_are_told: lost": lambda snapshot: snapshot.partition(0).keys["read"].clear(),
    "logs_agree": keep(0, "events", b"bob", value=[event(2, 5), event(3, 4)], ttl=9000),
    "logs_agree: another": keep(0, "log", DIALOG, value=[post(3), post(4), [
        b"5-0", [b"5", b"from 3:ann id 2:b1 body 2:ho\n"]]]),
    "logs_agree: chats": keep(0, "chats", b"bob", value={b"zoe": b"1"}),
    "keys_end: too early": keep(0, "mailbox", b"carol", value=[message()], ttl=5000),
}


def names(snapshot):
    return {problem.partition(":")[0] for problem in problems_of(snapshot)}


def test_a_clean_stack_passes():
    assert problems_of(clean()) == []


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_named(name):
    snapshot = clean()
    PLANTED[name](snapshot)
    assert name.partition(":")[0] in names(snapshot)


def test_every_check_is_tested():
    assert {check.__name__ for check in CHECKS} == {name.partition(":")[0] for name in PLANTED}


def test_mail_may_be_forbidden():
    assert problems_of(clean(), [no_mail_waits]) == [
        "no_mail_waits: 0: 1 messages wait for carol, the first is 9-1048577",
        "no_mail_waits: 0: 2 messages wait for dora, the first is 9-1048577"]


def test_connections_are_known():
    assert problems_of(clean(), [connections_are({b"bob": 2})]) == []
    assert len(problems_of(clean(), [connections_are({b"bob": 3, b"carol": 1})])) == 2
    assert len(problems_of(clean(), [connections_are({})])) == 1


def test_the_program_reads_a_real_redis(tmp_path):
    process = RedisProcess(str(tmp_path))
    process.start()
    wait_until(process.is_ready, "Redis answers")
    redis = Redis(process.url)
    prefix = "trunkline:{0}:"
    redis("HSET", "trunkline:deployment", "partitions", "1")
    redis("ZADD", "trunkline:routers", redis("TIME")[0].decode() + "999", ROUTER)
    redis("HSET", "trunkline:process:r", "kind", "router")
    redis("PEXPIRE", "trunkline:process:r", "60000")
    redis("HSET", prefix + "state", "epoch", "9", "commit", "5", "owner", ROUTER)
    redis("SET", prefix + "lease", ROUTER, "PX", "60000")
    command = [INSPECT, "--redis", process.url, "--patience", "0"]

    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")

    redis("XADD", prefix + "mailbox:carol%20ann", "9-1048577", "message", "from 5:alice body 5:hello\n")
    redis("SET", prefix + "surprise", "1")
    redis("HSET", prefix + "conns:" + DEAD.decode(), "5", "3 0 0 bob")
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    for word in ("carol ann", "surprise", "conns of x-00000000000000bb", "bob is offline with 1"):
        assert word in run.stdout
    redis.close()
    process.stop()


def test_no_redis_is_one_line():
    run = subprocess.run([INSPECT, "--redis", "redis://127.0.0.1:1"], capture_output=True,
                         text=True, check=False, timeout=60)
    assert run.returncode == 1
    assert run.stdout.startswith("redis://127.0.0.1:1: ") and run.stderr == ""
