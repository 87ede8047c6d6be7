"""simple: the room, its names and its members after processes were killed."""

import pytest

from client import Closed, Refused
from messenger import Roommate
from waiting import PATIENCE, wait_until

FAST = {"auth": False, "open_identity": "on", "lease_ms": 500, "renew_ms": 100,
        "heartbeat_ms": 200, "gateway_death_ms": 1500}


def come(stack, user, gateway=0):
    """Connects as soon as the service and the name are free."""
    def try_it():
        try:
            return Roommate(stack, user, gateway=gateway, username=user)
        except Refused as refusal:
            assert refusal.status in (403, 503)
        except Closed:  # sent away to come again
            pass
        return None
    return wait_until(try_it, f"{user} is connected", 2 * PATIENCE)


def members(roommate):
    """Who is there, by what it was told."""
    present = set()
    for frame in list(roommate.client.arrived):
        if frame["type"] == "user_connected":
            present.add(frame["username"])
        elif frame["type"] == "user_disconnected":
            present.discard(frame["username"])
    return present


def test_a_gateway_is_killed(new_stack):
    stack = new_stack(**FAST)
    alice = come(stack, "alice")
    come(stack, "bob", gateway=1)
    alice.take("user_connected", username="bob")
    stack.gateways[1].kill()
    alice.take("user_disconnected", username="bob", timeout=2 * PATIENCE)
    bob = come(stack, "bob")
    wait_until(lambda: members(alice) == members(bob) == {"alice", "bob"}, "both are there")
    alice.say("hello")
    bob.take("message_sent", message="hello")


def test_a_router_is_killed(new_stack):
    stack = new_stack(**FAST)
    roommates = {"alice": come(stack, "alice"), "bob": come(stack, "bob", gateway=1)}
    stack.add_router()
    stack.router.kill()

    def come_again():
        """Those who may have missed something were closed with 1012."""
        for gateway, name in enumerate(("alice", "bob")):
            if roommates[name].client.close_code:
                assert roommates[name].client.close_code == 1012
                roommates[name] = come(stack, name, gateway)

    def hear_each_other():
        come_again()
        try:
            roommates["alice"].say("hello")
            return roommates["bob"].take("message_sent", message="hello")
        except AssertionError:  # closed, or refused
            return False

    def see_each_other():
        come_again()
        return all(members(roommate) == {"alice", "bob"} for roommate in roommates.values())

    wait_until(hear_each_other, "the room goes on", 2 * PATIENCE)
    wait_until(see_each_other, "both are there")


def test_a_gateway_ends_in_order(new_stack):
    stack = new_stack(**FAST)
    alice, bob = come(stack, "alice"), come(stack, "bob", gateway=1)
    stack.gateways[1].stop()
    assert bob.await_close() == 1012
    alice.take("user_disconnected", username="bob")
    come(stack, "bob")


def test_without_a_router_newcomers_are_told_so(new_stack):
    stack = new_stack(**FAST)
    come(stack, "alice")
    stack.router.kill()

    def is_refused():
        try:
            Roommate(stack, "bob", joined=False, username="bob")
            return False
        except Refused as refusal:
            return refusal.status == 503

    wait_until(is_refused, "503", 2 * PATIENCE)
    stack.add_router()
    come(stack, "bob")


@pytest.mark.parametrize("gateway", [0, 1])
def test_who_breaks_off_frees_his_name(new_stack, gateway):
    stack = new_stack(**FAST)
    alice = come(stack, "alice")
    alice.client.abandon()
    come(stack, "alice", gateway)
