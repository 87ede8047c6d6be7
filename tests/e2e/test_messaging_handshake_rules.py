"""messaging: who may connect, as whom, and which connection stays."""

import time

import pytest

from client import Client, Refused
from harness import http, sign_token
from messenger import Messenger, url
from waiting import wait_until


@pytest.fixture(scope="module")
def open_stack(module_stack):
    return module_stack(auth=False, open_identity="on")


@pytest.fixture(scope="module")
def closed_stack(module_stack):
    return module_stack(auth=False)


def refused(stack, client_id=None, **query):
    with pytest.raises(Refused) as refusal:
        Messenger(stack, client_id, settled=False, **query)
    return refusal.value.status


@pytest.mark.parametrize("client_id", [
    None, "", "0", "*", "SERVER", "BROADCAST", "group:x", "guest:x", "x" * 129, "a\x00b", "a\nb"])
def test_without_a_proper_client_id_401(open_stack, client_id):
    assert refused(open_stack, client_id) == 401


def test_a_client_id_given_twice_401(open_stack):
    with pytest.raises(Refused) as refusal:
        Client(f"ws://{open_stack.gateways[0].address}/messaging?client_id=a&client_id=a")
    assert refusal.value.status == 401


def test_invalid_bytes_401(open_stack):
    with pytest.raises(Refused) as refusal:
        Client(f"ws://{open_stack.gateways[0].address}/messaging?client_id=%ff%fe")
    assert refusal.value.status == 401


def test_plain_http_426(open_stack):
    address = f"http://{open_stack.gateways[0].address}/messaging"
    assert http("GET", address + "?client_id=1")[0] == 426
    assert http("GET", address)[0] == 426


@pytest.mark.parametrize("client_id", ["1452", "a", "00", "-1", "z\u00fcri", "x" * 128, "a b/c?d"])
def test_under_open_identity_names_are_believed(open_stack, client_id):
    Messenger(open_stack, client_id)


def test_a_token_that_is_given_is_checked_also_then(open_stack):
    alice, bob = open_stack.users("alice", "bob")
    token = open_stack.token(alice)
    Messenger(open_stack, alice, token=token)
    assert refused(open_stack, bob, token=token) == 403
    assert refused(open_stack, alice, token="nonsense") == 401
    assert refused(open_stack, alice, token=sign_token("another secret", sub=alice)) == 401
    assert refused(open_stack, alice,
                   token=sign_token(open_stack.secret, sub=alice, exp=1)) == 401


def test_without_open_identity_a_token_is_needed(closed_stack):
    alice, bob = closed_stack.users("alice", "bob")
    assert refused(closed_stack, alice) == 401
    assert refused(closed_stack, bob, token=closed_stack.token(alice)) == 403
    assert refused(closed_stack, None, token=closed_stack.token(alice)) == 401
    Messenger(closed_stack, alice, token=closed_stack.token(alice))


def test_the_token_may_stand_in_the_url(closed_stack):
    alice, = closed_stack.users("alice")
    client = closed_stack.open("messaging", alice)
    client.send_text('{"send":[{}]}')
    client.take_where(lambda frame: "errors" in frame, "errors")


def test_a_connection_ends_with_its_token(closed_stack):
    alice, = closed_stack.users("alice")
    token = sign_token(closed_stack.secret, sub=alice, exp=int(time.time()) + 4)
    client = Messenger(closed_stack, alice, token=token, settled=False)
    assert client.await_close() == 4401


def test_the_latest_connection_takes_precedence(open_stack):
    alice, bob = open_stack.users("alice", "bob")
    old = Messenger(open_stack, bob)
    new = Messenger(open_stack, bob, gateway=1)
    assert old.await_close() == 4001
    Messenger(open_stack, alice).write(bob, "hi")
    new.await_texts("hi")
    newest = Messenger(open_stack, bob, gateway=1)
    assert new.await_close() == 4001
    newest.await_texts("hi")


def test_devices_stay_beside_each_other(open_stack):
    alice, bob = open_stack.users("alice", "bob")
    devices = [Messenger(open_stack, bob, gateway=n % 2, device_id=f"device {n}")
               for n in range(3)] + [Messenger(open_stack, bob)]
    assert Messenger(open_stack, alice).write(bob, "hi")["status"] == "delivered"
    for device in devices:
        device.await_texts("hi")
    again = Messenger(open_stack, bob, gateway=1, device_id="device 0")
    assert devices[0].await_close() == 4001
    again.await_texts("hi")
    for device in devices[1:]:
        device.ping()


@pytest.mark.parametrize("device_id", ["x" * 129, "a\nb"])
def test_bad_device_ids_400(open_stack, device_id):
    assert refused(open_stack, "alice", device_id=device_id) == 400


def test_another_path_404(open_stack):
    with pytest.raises(Refused) as refusal:
        Client(url(open_stack, "/messaing", client_id="1452"))
    assert refusal.value.status == 404


# ---- guests -------------------------------------------------------------------------------------

def session_of(guest):
    return guest.client.take_where(lambda frame: "session" in frame, "session")["session"]


def test_guests_have_fresh_names(open_stack):
    guests = [Messenger(open_stack, None, gateway=n, guest=1, settled=False) for n in (0, 1)]
    names = [session_of(guest)["client_id"] for guest in guests]
    assert all(name.startswith("guest:") for name in names)
    assert names[0] != names[1]
    assert list(guests[0].client.arrived[0]) == ["session"]


def test_guests_talk_like_others(open_stack):
    alice, = open_stack.users("alice")
    friend, guest = Messenger(open_stack, alice), Messenger(open_stack, None, gateway=1, guest=1,
                                                            settled=False)
    guest.user = session_of(guest)["client_id"]
    guest.subscribe("settle")
    assert guest.write(alice, "hi")["status"] == "delivered"
    friend.await_texts("hi")
    assert friend.write(guest.user, "hello")["status"] == "delivered"
    guest.await_texts("hello")


def test_nothing_is_kept_for_guests_who_are_gone(open_stack):
    alice, = open_stack.users("alice")
    friend = Messenger(open_stack, alice)
    guest = Messenger(open_stack, None, gateway=1, guest=1, settled=False)
    name = session_of(guest)["client_id"]
    guest.close()

    def is_refused():
        id = f"try {name} {len(friend.client.arrived)}"
        friend.send({"id": id, "rid": name, "sid": alice, "text": "still there?"})
        answer = friend.client.take_where(
            lambda frame: any(entry["id"] == id for section in ("errors", "sent")
                              for entry in frame.get(section, ())), "an answer")
        return "errors" in answer and answer["errors"][0]["code"] == 404

    wait_until(is_refused, "nothing is kept for a guest who is not connected")


def test_without_open_identity_guests_need_a_token(closed_stack):
    assert refused(closed_stack, None, guest=1) == 401
    alice, = closed_stack.users("alice")
    assert refused(closed_stack, None, guest=1, token=closed_stack.token(alice)) == 403
    token = sign_token(closed_stack.secret, sub="guest:of-auth")
    guest = Messenger(closed_stack, None, guest=1, settled=False, token=token)
    assert session_of(guest) == {"client_id": "guest:of-auth"}
