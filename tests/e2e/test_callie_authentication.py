"""callie: the token comes on the upgrade or in the first frames, and counts for every payload."""

import json
import time

import pytest

from callie import callie
from client import Refused
from harness import sign_token
from waiting import SLOWNESS


@pytest.fixture(scope="module")
def module(module_stack):
    return module_stack(auth=False)


@pytest.fixture
def stack(module):
    yield module
    module.abandon_clients()


def auth(client, token, **fields):
    client.send_text(json.dumps({"type": "AUTH", "token": token, **fields}))


def code_of(client, payload_id):
    return client.system(payload_id=payload_id)["content"]["code"]


def test_on_the_upgrade(stack):
    user, = stack.users("alice")
    client = callie(stack, user, token=False, access_token=stack.token(user))
    answer = client.system("AUTH_OK")
    assert answer["sender"] == "SERVER" and answer["recipient"] == user
    assert answer["metadata"]["payloadID"] is None


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_a_bad_token_on_the_upgrade_is_401(stack, token):
    with pytest.raises(Refused) as refusal:
        callie(stack, "nobody", token=False, access_token=token)
    assert refusal.value.status == 401


def test_as_the_first_frame(stack):
    alice, bob = stack.users("alice", "bob")
    client, other = callie(stack, alice, token=False), callie(stack, bob, gateway=1)
    auth(client, stack.token(alice), payloadID="a1")
    assert client.system("AUTH_OK")["metadata"]["payloadID"] == "a1"
    client.settle()
    other.say(alice, "hello")
    client.message("hello")
    client.say(bob, "hello too")
    other.message("hello too")


def test_in_the_first_payload_which_is_done_too(stack):
    alice, bob = stack.users("alice", "bob")
    client, other = callie(stack, alice, token=False), callie(stack, bob, gateway=1)
    client.say(bob, "first", token=stack.token(alice))
    client.system("AUTH_OK")
    assert "token" not in other.message("first")
    client.say(bob, "second")
    other.message("second")


def test_nothing_is_done_before(stack):
    alice, bob = stack.users("alice", "bob")
    client, other = callie(stack, alice, token=False), callie(stack, bob)
    for id in (client.say(bob, "no")[0], client.send_payload("SERVER", "PING", {}),
               client.say("BROADCAST", "no")[0],
               client.send_payload("SERVER", "CMD", {"command": "LIST_USERS", "parameters": {}})):
        assert code_of(client, id) == "AUTH_FAILED"
    witness = callie(stack, stack.users("witness")[0])
    other.say("BROADCAST", "not for strangers")
    witness.message("not for strangers")
    assert stack.redis.command("KEYS", f"*user:{alice}*") == []
    auth(client, stack.token(alice))
    client.system("AUTH_OK")
    client.settle()
    assert not client.messages() and not other.messages()


@pytest.mark.parametrize("claims", [
    {"exp": 1000}, {"exp": None}, {"sub": None}, {"sub": "group:a"}, {"nbf": 4102444800}])
def test_a_bad_token_is_told_and_another_may_follow(stack, claims):
    user, = stack.users("alice")
    client = callie(stack, user, token=False)
    auth(client, sign_token(stack.secret, **{"sub": user, **claims}), payloadID="a1")
    assert code_of(client, "a1") == "AUTH_FAILED"
    auth(client, stack.token(user), payloadID="a2")
    assert code_of(client, "a2") == "AUTH_OK"


def test_the_sender_must_be_the_user(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    client, other = callie(stack, alice), callie(stack, carol)
    assert code_of(client, client.say(carol, "no", sender=bob)[0]) == "FORBIDDEN"
    stranger = callie(stack, alice, token=False)
    id, _ = stranger.say(carol, "no", sender=bob, token=stack.token(alice))
    assert code_of(stranger, id) == "FORBIDDEN"
    assert code_of(stranger, stranger.say(carol, "no")[0]) == "AUTH_FAILED"
    client.say(carol, "end")
    other.message("end")
    assert len(other.messages()) == 1


def test_each_payloads_token_is_checked(stack):
    alice, bob = stack.users("alice", "bob")
    client, other = callie(stack, alice), callie(stack, bob)
    assert code_of(client, client.say(bob, "no", token=stack.token(bob))[0]) == "AUTH_FAILED"
    assert code_of(client, client.say(bob, "no", token="nonsense")[0]) == "AUTH_FAILED"
    client.say(bob, "none")
    client.say(bob, "his own", token=stack.token(alice))
    client.say(bob, "his own again", token=stack.token(alice))
    other.message("his own again")
    assert [m["content"]["text"] for m in other.messages()] == ["none", "his own",
                                                                "his own again"]


def test_another_users_token_does_not_make_it_his(stack):
    alice, bob = stack.users("alice", "bob")
    client = callie(stack, alice)
    auth(client, stack.token(bob), payloadID="a1")
    assert code_of(client, "a1") == "AUTH_FAILED"
    client.say(alice, "still alice")
    client.message("still alice")


def test_no_token_in_time_is_told_and_closed(new_stack):
    stack = new_stack(auth=False, gateways=1, unidentified_ms=int(1500 * SLOWNESS))
    client = callie(stack, "alice", token=False)
    client.send_text("nonsense")
    client.system("INVALID_PAYLOAD")
    client.system("AUTH_TIMEOUT")
    assert client.await_close() == 1008


def test_who_has_authenticated_stays(new_stack):
    stack = new_stack(auth=False, gateways=1, unidentified_ms=int(2000 * SLOWNESS))
    client, stranger = callie(stack, "alice", token=False), callie(stack, "bob", token=False)
    auth(client, stack.token("alice"))
    client.system("AUTH_OK")
    stranger.await_close()
    client.beat()


def test_so_many_may_be_unknown_at_once(new_stack):
    stack = new_stack(auth=False, gateways=1, unidentified=3)
    strangers = [callie(stack, "alice", token=False) for _ in range(3)]
    with pytest.raises(Refused) as refusal:
        callie(stack, "alice", token=False)
    assert refusal.value.status == 503
    callie(stack, "bob")
    auth(strangers[0], stack.token("alice"))
    strangers[0].system("AUTH_OK")
    callie(stack, "alice", token=False)


def test_at_its_end_a_token_is_told_and_closes(stack):
    user, = stack.users("alice")
    stack._tokens[user] = sign_token(stack.secret, sub=user, exp=int(time.time()) + 5)
    client = callie(stack, user)
    client.system("AUTH_FAILED")
    assert client.await_close() == 4401


def test_a_later_token_extends_it(stack):
    user, = stack.users("alice")
    begin = int(time.time())
    first = sign_token(stack.secret, sub=user, exp=begin + 5)
    stack._tokens[user] = first
    client = callie(stack, user)
    short = callie(stack, user)
    client.say(user, "longer", token=sign_token(stack.secret, sub=user, exp=begin + 3600))
    client.message("longer")
    assert short.await_close() == 4401
    client.beat()


def test_a_revoked_token_closes(new_stack):
    stack = new_stack(gateways=1)
    stack.auth.register("alice")
    login = stack.auth.login("alice")
    client = callie(stack, "alice", token=False)
    auth(client, login["token"])
    client.system("AUTH_OK")
    stack.auth.logout(login)
    assert client.await_close() == 4401


def test_a_user_has_so_many_connections(new_stack):
    stack = new_stack(auth=False, gateways=1, user_connections=2)
    clients = [callie(stack, "alice") for _ in range(2)]
    third = callie(stack, "alice", token=False)
    auth(third, stack.token("alice"))
    assert third.await_close() == 1008
    clients[0].beat()


def test_a_drain_is_told(new_stack):
    stack = new_stack(auth=False, gateways=1)
    client, stranger = callie(stack, "alice"), callie(stack, "bob", token=False)
    stack.gateways[0].stop()
    for one in (client, stranger):
        one.system("SERVER_SHUTDOWN")
        assert one.await_close() == 1012
