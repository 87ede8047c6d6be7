"""POST /api/v1/publish and /api/v1/notify: committed when answered, applied once, to whom it says."""

import pytest

from api import KEYS, SECRETS, Api


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False, api_keys=KEYS)


def test_to_a_topic(here):
    bob, = here.users("bob")
    receiver = here.connect(bob, gateway=1)
    receiver.subscribe("orders.*")
    answer = Api(here, key=SECRETS["publish"]).done(
        "publish", {"topic": "orders.new", "payload": {"n": 9007199254740993}, "id": "o1"})
    assert answer == {"id": "o1", "status": "published", "recipients": 1}
    data = receiver.take("Broadcast")
    assert (data["topic"], data["payload"]) == ("orders.new", {"n": 9007199254740993})
    assert data["metadata"]["message_id"] == "o1"


def test_to_a_user(here):
    bob, = here.users("bob")
    receiver = here.connect(bob, gateway=1)
    answer = Api(here).done("publish", {"user": bob, "message": "hi",
                                        "attachments": [{"type": "file", "url": "https://x"}]})
    assert (answer["status"], answer["delivered_to"]) == ("delivered", [receiver.connection_id])
    data = receiver.take("DirectMessage")
    assert data["from_user"] == "SERVER"
    assert data["payload"] == {"message": "hi",
                               "attachments": [{"type": "file", "url": "https://x"}]}
    assert data["metadata"]["message_id"] == answer["id"]


def test_to_a_user_who_is_away(here):
    bob, = here.users("bob")
    answer = Api(here).done("publish", {"user": bob, "payload": [1, "two"]})
    assert (answer["status"], answer["delivered_to"]) == ("queued", [])
    assert here.connect(bob).take("DirectMessage")["payload"] == [1, "two"]


def test_to_everybody(here):
    receivers = [here.connect(user, gateway=n) for n, user in enumerate(here.users("a", "b"))]
    answer = Api(here).done("publish", {"everybody": True, "message": "to all", "id": "all-1"})
    assert answer == {"id": "all-1", "status": "published"}
    for receiver in receivers:
        assert receiver.take("Broadcast")["payload"] == {"message": "to all"}


def test_for_a_user_with_the_scope_admin(here):
    alice, bob = here.users("alice", "bob")
    receiver = here.connect(bob)
    Api(here).done("publish", {"user": bob, "from": alice, "message": "hi"})
    assert receiver.take("DirectMessage")["from_user"] == alice
    status, answer = Api(here, key=SECRETS["publish"]).post(
        "publish", {"user": bob, "from": alice, "message": "hi"})
    assert (status, answer["error"]["field"]) == (403, "from")


@pytest.mark.parametrize("by_header", [False, True])
def test_a_retry_is_applied_once(here, by_header):
    bob, = here.users("bob")
    receiver = here.connect(bob)
    id = f"retry-{bob}"
    body = {"user": bob, "message": "once", **({} if by_header else {"id": id})}
    headers = {"Idempotency-Key": id} if by_header else {}
    answers = [Api(here, gateway=n).done("publish", body, **headers) for n in (0, 1, 0)]
    assert answers[0] == answers[1] == answers[2]
    receiver.ping()
    assert len(receiver.of_type("DirectMessage")) == 1


def test_a_message_that_may_not_wait_is_dropped(here):
    bob, = here.users("bob")
    Api(here).done("publish", {"user": bob, "message": "late", "ttl": 0})
    Api(here).done("publish", {"user": bob, "message": "in time"})
    receiver = here.connect(bob)
    assert receiver.take("DirectMessage")["payload"]["message"] == "in time"


def test_a_full_mailbox_is_told(new_stack):
    stack = new_stack(auth=False, gateways=1, api_keys=KEYS, mailbox_messages=1)
    bob, = stack.users("bob")
    Api(stack).done("publish", {"user": bob, "message": "one"})
    status, answer = Api(stack).post("publish", {"user": bob, "message": "two"})
    assert (status, answer["error"]["code"]) == (507, 507)


def test_notify(here):
    bob, = here.users("bob")
    receiver = here.connect(bob, gateway=1)
    notice = {"level": "info", "title": "T", "message": "m",
              "actions": [{"label": "l", "url": "https://x"}]}
    answer = Api(here, key=SECRETS["notify"]).done("notify", {**notice, "user": bob})
    data = receiver.take("Notification")
    assert data.pop("metadata")["message_id"] == answer["id"]
    assert data == notice


@pytest.mark.parametrize("path, body, field", [
    ("publish", {}, "topic"),
    ("publish", {"topic": "a", "user": "b", "message": "m"}, "user"),
    ("publish", {"topic": "a.*", "message": "m"}, "topic"),
    ("publish", {"topic": "presence.a", "message": "m"}, "topic"),
    ("publish", {"user": "*", "message": "m"}, "user"),
    ("publish", {"everybody": "yes", "message": "m"}, "everybody"),
    ("publish", {"topic": "a"}, "message"),
    ("publish", {"topic": "a", "message": 7}, "message"),
    ("publish", {"topic": "a", "message": "m", "payload": 1}, "payload"),
    ("publish", {"topic": "a", "message": "m", "attachments": {}}, "attachments"),
    ("publish", {"topic": "a", "message": "m", "id": 7}, "id"),
    ("publish", {"topic": "a", "message": "m", "id": "x" * 129}, "id"),
    ("publish", {"topic": "a", "message": "m", "ttl": -1}, "ttl"),
    ("publish", {"topic": "a", "message": "m", "metadata": []}, "metadata"),
    ("publish", {"topic": "a", "message": "m", "from": "SERVER"}, "from"),
    ("notify", {"user": "bob"}, "message"),
    ("notify", {"user": "bob", "message": "m", "level": "loud"}, "level"),
    ("notify", {"group": "g", "message": "m"}, "group"),
    ("disconnect", {}, "user"),
    ("disconnect", {"user": "a", "connection_id": "b"}, "user"),
    ("disconnect", {"user": []}, "user"),
    ("disconnect", {"connection_id": 7}, "connection_id"),
    ("revoke", {}, "user"),
    ("revoke", {"token_id": "a b"}, "token_id"),
    ("revoke", {"token_id": "*7"}, "token_id"),
])
def test_a_wrong_field_is_named(here, path, body, field):
    status, answer = Api(here).post(path, body)
    assert (status, answer["error"]["code"], answer["error"].get("field")) == (400, 400, field)


def test_a_header_must_agree_with_the_id(here):
    status, answer = Api(here).post("publish", {"topic": "a", "message": "m", "id": "x"},
                                    **{"Idempotency-Key": "y"})
    assert (status, answer["error"]["field"]) == (400, "id")
