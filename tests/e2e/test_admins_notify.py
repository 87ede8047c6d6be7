"""Notifications of an admin reach a user, a topic or everybody; others are refused with 403."""

import pytest

from harness import sign_token

NOTICE = {"level": "warning", "title": "Maintenance Notice", "message": "in 1 hour",
          "actions": [{"label": "Learn More", "url": "https://status.example.com"}]}


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False)


def connect_admin(stack):
    name, = stack.users("admin")
    stack._tokens[name] = sign_token(stack.secret, sub=name, admin=True)
    return stack.connect(name)


def test_to_a_user(here):
    admin, (bob,) = connect_admin(here), here.users("bob")
    receiver = here.connect(bob, gateway=1)
    id = admin.send("Notification", {**NOTICE, "target_user": bob})
    assert admin.answer(id)["data"]["delivered_to"] == [receiver.connection_id]
    data = receiver.take("Notification")
    assert data.pop("metadata")["message_id"] == id
    assert data == NOTICE


def test_to_a_user_who_is_away(here):
    admin, (bob,) = connect_admin(here), here.users("bob")
    id = admin.send("Notification", {"message": "m", "target_user": bob})
    assert admin.answer(id)["data"]["details"]["queued"] is True
    data = here.connect(bob).take("Notification")
    assert (data["level"], data["message"]) == ("info", "m")


def test_to_a_topic(here):
    admin, (bob, carol) = connect_admin(here), here.users("bob", "carol")
    receiver, other = here.connect(bob, gateway=1), here.connect(carol)
    receiver.subscribe("news.*")
    id = admin.send("Notification", {**NOTICE, "topic": "news.today"})
    assert admin.answer(id)["data"]["recipients"] == 1
    receiver.take("Notification")
    other.ping()
    assert other.of_type("Notification") == []


def test_to_everybody(here):
    admin, names = connect_admin(here), here.users("bob", "carol")
    receivers = [here.connect(name, gateway=n) for n, name in enumerate(names)]
    id = admin.send("Notification", NOTICE)
    assert admin.answer(id)["data"] == {"message_id": id, "status": "delivered"}
    for receiver in receivers:
        data = receiver.take_where(lambda message: message["type"] == "Notification" and
                                   message["data"]["metadata"]["message_id"] == id,
                                   "Notification")["data"]
        assert data["title"] == "Maintenance Notice"
    admin.ping()
    assert admin.of_type("Notification") == []  # as with Broadcast: not without metadata.echo


def test_others_may_not(here):
    mallory, bob = here.users("mallory", "bob")
    sender, receiver = here.connect(mallory), here.connect(bob)
    for data in (NOTICE, {**NOTICE, "target_user": bob}, {**NOTICE, "topic": "news.today"}):
        error = sender.answer(sender.send("Notification", data))["data"]
        assert (error["code"], error["details"]) == (403, {"field": "type"})
    receiver.ping()
    assert receiver.of_type("Notification") == []
