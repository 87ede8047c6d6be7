"""Who is in a room stays known when routers and gateways die: nobody flaps, nobody stays for ever."""

from messenger import Roommate
from test_simple_survives_faults import come
from waiting import wait_until


def new_room(new_stack):
    return new_stack(auth=False, open_identity="on", lease_ms=1000, renew_ms=200, heartbeat_ms=200,
                     gateway_death_ms=1500)


def test_a_killed_router_changes_nothing(new_stack):
    stack = new_room(new_stack)
    alice = Roommate(stack, "alice", username="alice")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    alice.take("user_connected", username="bob")
    router = stack.router
    for n in range(2):
        router.kill()
        router = stack.add_router()
        newcomer = come(stack, f"carol-{n}", gateway=n)
        for member in (alice, bob):
            member.take("user_connected", username=f"carol-{n}")
        expected = {"alice", "bob", *(f"carol-{m}" for m in range(n + 1))}
        wait_until(lambda: set(newcomer.names("user_connected")) == expected, "all are named")
        assert len(newcomer.names("user_connected")) == len(expected)
        assert newcomer.names("user_connected")[0] == f"carol-{n}"
    bob.client.close()
    alice.take("user_disconnected", username="bob")
    assert alice.names("user_connected") == ["alice", "bob", "carol-0", "carol-1"]
    assert alice.names("user_disconnected") == ["bob"]


def test_who_was_on_a_killed_gateway_goes(new_stack):
    stack = new_room(new_stack)
    alice = Roommate(stack, "alice", username="alice")
    for name in ("bob", "carol"):
        Roommate(stack, name, gateway=1, username=name)
        alice.take("user_connected", username=name)
    stack.gateways[1].kill()
    wait_until(lambda: set(alice.names("user_disconnected")) == {"bob", "carol"}, "they are gone")
    assert len(alice.names("user_disconnected")) == 2
    dave = Roommate(stack, "dave", username="dave")
    dave.take("user_connected", username="alice")
    assert sorted(dave.names("user_connected")) == ["alice", "dave"]
