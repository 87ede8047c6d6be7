"""callie: groups, edits, lists and status by CMD, and what others hear of it."""

import itertools
import json

import pytest

from callie import callie

_names = itertools.count(1)


@pytest.fixture(scope="module")
def module(module_stack):
    return module_stack(auth=False)


@pytest.fixture
def three(module):
    yield [callie(module, user, gateway=n % 2)
           for n, user in enumerate(module.users("alice", "bob", "carol"))]
    module.abandon_clients()


@pytest.fixture
def group(three):
    """Its id; the first of three owns it, the second is in it, the third is not."""
    alice, bob, _ = three
    id = alice.done("CREATE_GROUP", name="Friends", members=[bob.user])["groupID"]
    bob.system("GROUP_CREATED")
    return id


def code(client, name, /, **parameters):
    return client.command(name, **parameters)[0]


def code_of(client, sent):
    return client.system(payload_id=sent[0])["content"]["code"]


# ---- groups ----------------------------------------------------------------------------------


def test_a_group_is_made_and_its_members_hear_of_it(three):
    alice, bob, carol = three
    answer = alice.done("CREATE_GROUP", name="Friends é", members=[bob.user, carol.user])
    for client in three:
        told = client.system("GROUP_CREATED")
        assert told["metadata"] == {"groupID": answer["groupID"], "name": "Friends é",
                                    "username": alice.user}
        assert told["recipient"] == client.user and told["sender"] == "SERVER"


@pytest.mark.parametrize("form", ["{}", "group:{}"])
def test_a_message_to_a_group_reaches_its_members(three, group, form):
    alice, bob, carol = three
    sent = json.loads(json.dumps(bob.payload(form.format(group), "MSG",
                                             {"messageID": f"g{next(_names)}", "text": "to all"})))
    bob.send_text(json.dumps(sent))
    assert alice.message("to all") == sent
    bob.say(carol.user, "end")
    carol.message("end")
    assert len(carol.messages()) == 1


def test_who_is_no_member_is_told(three, group):
    _, _, carol = three
    assert code_of(carol, carol.say(group, "no")) == "NOT_A_MEMBER"
    assert code(carol, "LIST_MEMBERS", groupID=group) == "NOT_A_MEMBER"
    assert code(carol, "LEAVE_GROUP", groupID=group) == "NOT_A_MEMBER"


def test_an_unknown_group_is_told(three):
    alice, _, _ = three
    for name in ("group:nowhere", "g01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        payload_id, message_id = alice.say(name, "no")
        answer = alice.system(payload_id=payload_id)
        assert answer["content"]["code"] == "RECIPIENT_UNKNOWN"
        assert answer["metadata"]["messageID"] == message_id
        for command in ("JOIN_GROUP", "LIST_MEMBERS", "DELETE_GROUP"):
            assert code(alice, command, groupID=name) == "COMMAND_FAILED"


def test_members_who_are_not_there_are_told(module, three):
    alice, bob, _ = three
    nobody = f"nobody-{alice.user}"
    group = alice.done("CREATE_GROUP", name="Half", members=[bob.user, nobody])["groupID"]
    payload_id, message_id = alice.say(group, "hello")
    answer = alice.system("RECIPIENT_OFFLINE")
    assert answer["metadata"] == {"payloadID": payload_id, "messageID": message_id,
                                  "groupID": group, "username": nobody}
    bob.message("hello")
    alice.beat()
    assert len(alice.systems("RECIPIENT_OFFLINE")) == 1


def test_members_come_and_go(three, group):
    alice, bob, carol = three
    assert carol.done("JOIN_GROUP", groupID=f"group:{group}")["groupID"] == group
    for client in three:
        assert client.system("USER_JOINED")["metadata"] == {"groupID": group,
                                                            "username": carol.user}
    assert code(carol, "JOIN_GROUP", groupID=group) == "COMMAND_FAILED"
    assert alice.done("LIST_MEMBERS", groupID=group)["result"] == [alice.user, bob.user,
                                                                   carol.user]
    carol.done("LEAVE_GROUP", groupID=group)
    for client in (alice, bob):
        assert client.system("USER_LEFT")["metadata"] == {"groupID": group,
                                                          "username": carol.user}
    assert bob.done("LIST_MEMBERS", groupID=group)["result"] == [alice.user, bob.user]
    assert code_of(carol, carol.say(group, "no")) == "NOT_A_MEMBER"


def test_only_the_owner_adds_removes_and_deletes(three, group):
    alice, bob, carol = three
    for command, parameters in (("ADD_MEMBER", {"username": carol.user}),
                                ("REMOVE_MEMBER", {"username": alice.user}),
                                ("DELETE_GROUP", {})):
        assert code(bob, command, groupID=group, **parameters) == "FORBIDDEN"
        assert code(carol, command, groupID=group, **parameters) == "FORBIDDEN"
    alice.done("ADD_MEMBER", groupID=group, username=carol.user)
    carol.system("USER_JOINED")
    assert code(alice, "ADD_MEMBER", groupID=group, username=carol.user) == "COMMAND_FAILED"
    alice.done("REMOVE_MEMBER", groupID=group, username=carol.user)
    carol.system("USER_LEFT")
    assert code(alice, "REMOVE_MEMBER", groupID=group, username=carol.user) == "COMMAND_FAILED"
    alice.done("DELETE_GROUP", groupID=group)
    assert bob.system("GROUP_DELETED")["metadata"]["groupID"] == group
    assert code_of(bob, bob.say(group, "no")) == "RECIPIENT_UNKNOWN"


def test_groups_are_listed(three, group):
    alice, bob, carol = three
    other = bob.done("CREATE_GROUP", name="Others")["groupID"]
    bob.system("GROUP_CREATED")
    listed = {entry["groupID"]: entry for entry in bob.done("LIST_GROUPS")["result"]}
    assert listed == {group: {"groupID": group, "name": "Friends", "owner": alice.user},
                      other: {"groupID": other, "name": "Others", "owner": bob.user}}
    assert [entry["groupID"] for entry in alice.done("LIST_GROUPS")["result"]] == [group]
    assert carol.done("LIST_GROUPS")["result"] == []
    alice.done("DELETE_GROUP", groupID=group)
    bob.system("GROUP_DELETED")
    assert [entry["groupID"] for entry in bob.done("LIST_GROUPS")["result"]] == [other]


@pytest.mark.parametrize("name, parameters, field", [
    ("CREATE_GROUP", {}, "name"), ("CREATE_GROUP", {"name": ""}, "name"),
    ("CREATE_GROUP", {"name": "x" * 257}, "name"),
    ("CREATE_GROUP", {"name": "a\nb"}, "name"),
    ("CREATE_GROUP", {"name": "a", "members": {}}, "members"),
    ("CREATE_GROUP", {"name": "a", "members": [None]}, "members"),
    ("CREATE_GROUP", {"name": "a", "members": ["*"]}, "members"),
    ("CREATE_GROUP", {"name": "a", "members": ["a"] * 1001}, "members"),
    ("JOIN_GROUP", {}, "groupID"), ("JOIN_GROUP", {"groupID": 7}, "groupID"),
    ("JOIN_GROUP", {"groupID": "x" * 129}, "groupID"),
    ("ADD_MEMBER", {"groupID": "a"}, "username"),
    ("ADD_MEMBER", {"groupID": "a", "username": ""}, "username"),
    ("DELETE_MESSAGE", {}, "messageID"), ("EDIT_MESSAGE", {"messageID": "m"}, "text"),
    ("EDIT_MESSAGE", {"messageID": "m", "text": 7}, "text"),
    ("SET_STATUS", {}, "status"), ("SET_STATUS", {"status": "offline"}, "status"),
    ("GET_STATUS", {"username": []}, "username"),
])
def test_parameters_that_do_not_fit(three, name, parameters, field):
    code, metadata = three[0].command(name, **parameters)
    assert (code, metadata["field"]) == ("INVALID_PAYLOAD", f"content.parameters.{field}")


# ---- messages --------------------------------------------------------------------------------


def test_a_message_is_edited_and_deleted_in_a_group(three, group):
    alice, bob, _ = three
    _, message_id = alice.say(group, "first")
    bob.message("first")
    assert alice.done("EDIT_MESSAGE", messageID=message_id, text="second")["messageID"] == message_id
    told = bob.system("MESSAGE_EDITED")
    assert told["metadata"] == {"messageID": message_id, "username": alice.user,
                                "groupID": group, "text": "second"}
    alice.done("DELETE_MESSAGE", messageID=message_id)
    assert bob.system("MESSAGE_DELETED")["metadata"] == {
        "messageID": message_id, "username": alice.user, "groupID": group}
    assert code(alice, "EDIT_MESSAGE", messageID=message_id, text="no") == "COMMAND_FAILED"


def test_at_once_and_without_waiting(three, group):
    alice, bob, _ = three
    _, message_id = alice.say(group, "first")
    alice.done("EDIT_MESSAGE", messageID=message_id, text="second")
    assert bob.system("MESSAGE_EDITED")["metadata"]["text"] == "second"


def test_by_another_connection_of_its_author(module, three, group):
    alice, bob, _ = three
    _, message_id = alice.say(group, "first")
    bob.message("first")
    other = callie(module, alice.user, gateway=1)
    other.done("EDIT_MESSAGE", messageID=message_id, text="second")
    assert bob.system("MESSAGE_EDITED")["metadata"]["text"] == "second"


def test_a_direct_message_is_edited_and_deleted(module, three):
    alice, bob, carol = three
    _, message_id = alice.say(bob.user, "first")
    bob.message("first")
    alice.done("EDIT_MESSAGE", messageID=message_id, text="second")
    assert bob.system("MESSAGE_EDITED")["metadata"] == {
        "messageID": message_id, "username": alice.user, "text": "second"}
    callie(module, alice.user, gateway=1).done("DELETE_MESSAGE", messageID=message_id)
    assert bob.system("MESSAGE_DELETED")["metadata"] == {
        "messageID": message_id, "username": alice.user}
    assert not carol.systems("MESSAGE_EDITED")


def test_only_its_author_changes_a_message(three, group):
    alice, bob, _ = three
    _, message_id = alice.say(group, "mine")
    bob.message("mine")
    assert code(bob, "EDIT_MESSAGE", messageID=message_id, text="no") == "FORBIDDEN"
    assert code(bob, "DELETE_MESSAGE", messageID=message_id) == "FORBIDDEN"
    assert code(bob, "DELETE_MESSAGE", messageID="nothing") == "FORBIDDEN"
    alice.beat()
    assert not alice.systems("MESSAGE_EDITED") and not alice.systems("MESSAGE_DELETED")


# ---- users -----------------------------------------------------------------------------------


def test_users_are_listed(module, three):
    stranger = callie(module, "stranger", token=False)
    module.connect(module.users("elsewhere")[0])
    users = three[0].done("LIST_USERS")["result"]
    assert {client.user for client in three} <= set(users) and len(users) == len(set(users))
    assert "stranger" not in users and not [u for u in users if u.startswith("elsewhere")]
    stranger.abort()


def test_status_is_set_and_asked_for(module, three):
    alice, bob, _ = three
    assert bob.done("GET_STATUS", username=alice.user)["result"]["status"] == "online"
    alice.done("SET_STATUS", status="away")
    watcher = module.connect(module.users("watcher")[0])
    watcher.subscribe(f"presence.{alice.user}")
    watcher.take_where(lambda m: m["type"] == "Presence" and m["data"]["status"] == "away", "away")
    result = bob.done("GET_STATUS", username=alice.user)["result"]
    assert (result["username"], result["status"]) == (alice.user, "away")
    assert alice.done("GET_STATUS")["result"]["status"] == "away"
    assert bob.done("GET_STATUS", username=f"nobody-{alice.user}")["result"] == {
        "username": f"nobody-{alice.user}", "status": "offline"}
