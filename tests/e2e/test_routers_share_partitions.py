"""Routers share the partitions: who joins gets his part, who leaves or dies leaves none unserved."""

import time
from collections import Counter

from waiting import SLOWNESS, wait_until

PARTITIONS = 16
LONG_MS = 60_000  # a lease that does not end within a test


def owners(stack):
    """Who holds each lease; None where nobody does."""
    return stack.redis.command("MGET", *(f"trunkline:{{{p}}}:lease" for p in range(PARTITIONS)))


def await_shares(stack, *expected, **options):
    """Until the routers' shares are these, the smallest first, and nothing is left over."""

    def are_so():
        held = Counter(owners(stack))
        return None not in held and sorted(held.values()) == list(expected)

    wait_until(are_so, f"shares of {expected}", **options)


def test_shares_come_out_even_and_are_handed_over(new_stack):
    stack = new_stack(auth=False, lease_ms=LONG_MS, renew_ms=200)
    await_shares(stack, 16)
    second = stack.add_router()
    await_shares(stack, 8, 8)
    stack.add_router()
    await_shares(stack, 5, 5, 6)
    second.stop()
    # Each free partition is found at once: not one by one, nor when its lease would have ended.
    await_shares(stack, 8, 8, timeout=2 * SLOWNESS)
    stack.router.stop()
    await_shares(stack, 16, timeout=2 * SLOWNESS)


def test_partitions_of_the_dead_are_served_after_a_lease(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200)
    others = [stack.add_router(), stack.add_router()]
    await_shares(stack, 5, 5, 6)
    stack.router.kill()
    await_shares(stack, 8, 8)
    client = stack.connect("reader")
    client.subscribe(*(f"topic.{n}" for n in range(40)))
    for n in range(40):
        client.broadcast(f"topic.{n}", n)
    others[0].kill()
    await_shares(stack, 16)
    for n in range(40):
        client.broadcast(f"topic.{n}", n)


def epochs(stack):
    return [stack.redis.command("HGET", f"trunkline:{{{p}}}:state", "epoch")
            for p in range(PARTITIONS)]


def test_leases_of_idle_partitions_stay_and_vanished_ones_come_back(new_stack):
    """They outlive what one lease is long; and none of it is a take."""
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200)
    await_shares(stack, 16)
    before = epochs(stack)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert None not in owners(stack)
    stack.redis.command("DEL", *(f"trunkline:{{{p}}}:lease" for p in range(PARTITIONS)))
    await_shares(stack, 16)
    assert epochs(stack) == before
