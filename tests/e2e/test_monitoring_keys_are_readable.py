"""What an operator looks at with redis-cli is there, and makes sense to a person."""

import pytest

from test_offline_messages_wait_in_order import fill_mailbox
from waiting import wait_until


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, heartbeat_ms=200)


def lengths(stack, pattern):
    return {key: stack.redis.command("XLEN", key)
            for key in stack.redis.command("KEYS", f"trunkline:{pattern}")}


def test_at_rest_nothing_waits(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    for n in range(200):
        sender.send_direct(bob, n)
    receiver.await_count("DirectMessage", 200)
    wait_until(lambda: not any(lengths(stack, "*:in").values()), "every input is empty")
    # The last entry of each stays: the next one names it as its predecessor.
    wait_until(lambda: max(lengths(stack, "*:out:*").values()) <= 1, "every output is trimmed")
    assert stack.redis.command("KEYS", "trunkline:*:dead") == []


def test_every_partition_has_an_owner(stack):
    owners = {stack.redis.command("GET", f"trunkline:{{{p}}}:lease") for p in range(16)}
    assert len(owners) == 1
    assert "router-1" in owners.pop()


def test_a_mailbox_has_readable_fields(stack):
    alice, bob = stack.users("alice", "bob")
    fill_mailbox(stack.connect(alice), bob, 3)
    key, = stack.redis.command("KEYS", f"trunkline:*:mailbox:{bob}")
    entries = stack.redis.command("XRANGE", key, "-", "+")
    assert len(entries) == 3
    for number, (_, (_, record)) in enumerate(entries):
        words = record.split()
        assert f"{len(alice)}:{alice}" == words[words.index("from") + 1]
        assert f"1:{number}" == words[words.index("body") + 1]


def test_processes_report_themselves(stack):
    stack.connect(stack.users("alice")[0]).ping()

    def counters(name):
        return stack.redis.command("HGETALL", f"trunkline:process:{name}")

    for name, kind in (("gateway-1", "gateway"), ("gateway-2", "gateway"), ("router-1", "router")):
        wait_until(lambda: counters(name).get("kind") == kind, f"{name} reports")
        assert stack.redis.command("PTTL", f"trunkline:process:{name}") > 0
    wait_until(lambda: int(counters("gateway-1")["connections"]) >= 1, "the connection is counted")
    wait_until(lambda: int(counters("gateway-1")["partitions_answering"]) == 16, "all answer")


def test_the_same_for_prometheus(stack):
    client = stack.connect(stack.users("alice")[0])
    client.ping()
    status, text = stack.gateways[0].get("/metrics")
    assert status == 200
    assert 'trunkline_client_messages_total{process="gateway-1"}' in text
    assert stack.gateways[0].get("/healthz")[0] == 200


def test_an_unknown_path_is_404(stack):
    assert stack.gateways[0].get("/nothing")[0] == 404
