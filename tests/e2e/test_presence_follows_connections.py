"""Presence: told at once on subscribing, then at each change, on whichever gateway one watches."""

import time

import pytest

from waiting import wait_until


GRACE_MS = 2000  # enough to connect again in, on any machine


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(presence_grace_ms=GRACE_MS)


def watch(stack, *users, gateway=1):
    """A client that follows these users, and has been told their present state."""
    watcher = stack.connect(stack.users("watcher")[0], gateway=gateway)
    watcher.subscribe(*(f"presence.{user}" for user in users))
    return watcher


def next_state(watcher, user):
    message = watcher.take_where(
        lambda message: message["type"] == "Presence" and message["data"]["user_id"] == user,
        f"presence of {user}")
    return message["data"]


def test_states_of_a_life(stack):
    user, = stack.users("user")
    watcher = watch(stack, user)
    assert next_state(watcher, user)["status"] == "offline"

    client = stack.connect(user)
    assert next_state(watcher, user)["status"] == "online"

    client.send("Presence", {"status": "away", "metadata": {"device": "web"}})
    away = next_state(watcher, user)
    assert (away["status"], away["metadata"]) == ("away", {"device": "web"})

    left = time.time()
    client.close()
    offline = next_state(watcher, user)
    assert offline["status"] == "offline"
    assert left - 1 <= offline["last_seen"] <= time.time() + 1
    assert time.time() - left > GRACE_MS / 1000 - 0.1, "offline before the grace time was over"


def test_present_state_comes_at_once(stack):
    user, = stack.users("user")
    client = stack.connect(user)
    client.answer(client.send("Presence", {"status": "busy", "metadata": {"until": 5}}))
    state = next_state(watch(stack, user), user)
    assert (state["status"], state["metadata"]) == ("busy", {"until": 5})


def test_a_quick_reconnect_shows_nothing(stack):
    user, clock = stack.users("user", "clock")
    watcher = watch(stack, user, clock)
    client, other = stack.connect(user), stack.connect(clock)
    client.abort()
    client = stack.connect(user, gateway=1)
    other.close()
    wait_until(lambda: next_state(watcher, clock)["status"] == "offline", "the grace is over")
    client.send("Presence", {"status": "busy"})
    wait_until(lambda: next_state(watcher, user)["status"] == "busy", "busy is seen")
    states = [data["status"] for data in watcher.of_type("Presence") if data["user_id"] == user]
    assert states == ["offline", "online", "busy"]


def test_the_last_of_several_connections_counts(stack):
    user, clock = stack.users("user", "clock")
    first, second = stack.connect(user), stack.connect(user, gateway=1)
    other = stack.connect(clock)
    watcher = watch(stack, user, clock)
    first.close()
    other.close()
    wait_until(lambda: next_state(watcher, clock)["status"] == "offline", "the grace is over")
    second.close()
    wait_until(lambda: next_state(watcher, user)["status"] == "offline", "both are gone")
    states = [data["status"] for data in watcher.of_type("Presence") if data["user_id"] == user]
    assert states == ["online", "offline"]


def test_everybody_on_both_gateways(stack):
    early, late = stack.users("early", "late")
    stack.connect(early, gateway=0)
    watcher = stack.connect(stack.users("watcher")[0], gateway=1)
    watcher.subscribe("presence.*")
    assert next_state(watcher, early)["status"] == "online"
    client = stack.connect(late, gateway=0)
    assert next_state(watcher, late)["status"] == "online"
    client.close()
    assert next_state(watcher, late)["status"] == "offline"


def test_unsubscribing_ends_it(stack):
    user, other = stack.users("user", "other")
    watcher = watch(stack, user, other)
    assert next_state(watcher, user)["status"] == "offline"
    watcher.unsubscribe(f"presence.{user}")
    stack.connect(user)
    stack.connect(other)
    wait_until(lambda: next_state(watcher, other)["status"] == "online", "the other is seen")
    states = [data["status"] for data in watcher.of_type("Presence") if data["user_id"] == user]
    assert states == ["offline"]


@pytest.mark.parametrize("data", [{}, {"status": "gone"}, {"status": 1}, {"status": None}, None])
def test_a_status_that_does_not_exist(stack, data):
    client = stack.connect(stack.users("user")[0])
    answer = client.answer(client.send("Presence", data))
    assert (answer["type"], answer["data"]["code"]) == ("Error", 400)
