"""What the HTTP API sends to a group, and to users of chat and callie."""

import pytest

from api import KEYS, Api
from callie import callie
from chat import Chat


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False, api_keys=KEYS)


def test_to_a_group(here):
    alice, bob, carol = here.users("alice", "bob", "carol")
    owner = callie(here, alice)
    reader = Chat(here, bob, gateway=1)
    listener = here.connect(carol)
    group = owner.done("CREATE_GROUP", name="Tea", members=[bob, carol])["groupID"]
    body = {"group": group, "message": "the kettle boils", "id": f"kettle-{alice}"}
    answers = [Api(here, gateway=n).done("publish", body) for n in (0, 1)]
    assert answers[0] == answers[1] == {"id": body["id"], "status": "published", "message": 1}
    event = reader.event("new")["payload"]
    assert (event["userId"], event["message"], event["messageId"]) == (
        "SERVER", "the kettle boils", 1)
    assert listener.take("DirectMessage")["payload"]["message"] == "the kettle boils"
    message = owner.take_where(lambda message: message["type"] == "MSG", "MSG")
    assert message["content"]["text"] == "the kettle boils"
    listener.ping()
    assert len(listener.of_type("DirectMessage")) == 1


def test_to_a_group_that_is_not_there(here):
    status, answer = Api(here).post("publish", {"group": "nothing", "message": "m"})
    assert (status, answer["error"]["code"]) == (404, 404)


def test_for_one_who_is_no_member(here):
    alice, mallory = here.users("alice", "mallory")
    group = callie(here, alice).done("CREATE_GROUP", name="Tea", members=[])["groupID"]
    status, _ = Api(here).post("publish", {"group": group, "message": "m", "from": mallory})
    assert status == 403


def test_to_a_user_of_chat(here):
    bob, = here.users("bob")
    reader = Chat(here, bob, gateway=1)
    Api(here).done("publish", {"user": bob, "message": "hi"})
    event = reader.event("new")["payload"]
    assert (event["chatId"], event["userId"], event["message"]) == ("SERVER", "SERVER", "hi")


def test_a_notification_to_a_user_of_callie(here):
    bob, = here.users("bob")
    listener = callie(here, bob)
    Api(here).done("notify", {"user": bob, "message": "back in 5 minutes", "title": "T"})
    message = listener.take_where(lambda message: message["type"] == "MSG", "MSG")
    assert (message["sender"], message["content"]["text"]) == ("SERVER", "back in 5 minutes")
