"""chat: while Redis or the routers are away requests are answered 503, and can be sent again."""

from chat import Chat
from waiting import PATIENCE, wait_until


def refused(client, kind, payload=None):
    """Asks until the service is seen to be away; nothing of it may be done twice."""
    def is_refused():
        answer = client.response(client.send(kind, payload), 2 * PATIENCE)
        return answer.get("error", {}).get("code") == 503 and answer["error"]["retry_after_ms"]

    wait_until(is_refused, f"{kind} is refused", 3 * PATIENCE)


def done(client, kind, payload=None):
    """The payload, when the service is back."""
    def response():
        answer = client.response(client.send(kind, payload), 2 * PATIENCE)
        return "error" not in answer and answer

    return wait_until(response, f"{kind} is done", 3 * PATIENCE)["payload"]


def test_redis_away(new_stack):
    stack = new_stack(auth=False)
    alice, bob = stack.users("alice", "bob")
    writer, reader = Chat(stack, alice), Chat(stack, bob, gateway=1)
    first = {"chatId": bob, "message": "hi", "clientMessageId": "c-1"}
    assert writer.ask("new", first)["messageId"] == 1
    stack.redis.stop()
    second = {**first, "clientMessageId": "c-2"}
    for kind, payload in (("getChats", None), ("getMessages", {"chatId": bob, "count": 1}),
                          ("getEvents", {"fromEventId": 1}), ("new", second),
                          ("read", {"chatId": bob, "messageId": 1}), ("subscribe", None)):
        refused(writer, kind, payload)
    stack.redis.start()
    wait_until(stack.redis.is_ready, "Redis answers again")
    assert done(writer, "new", second)["messageId"] == 2
    assert done(writer, "new", first)["messageId"] == 1
    reader.await_event(2)
    assert done(writer, "new", {"chatId": bob, "message": "last"})["messageId"] == 3
    reader.await_event(3)
    assert [event["payload"]["messageId"] for event in reader.events("new")] == [1, 2, 3]
    assert done(writer, "subscribe", {"lastEventId": 0})["lastEventId"] == 3
    writer.await_event(3)


def test_the_same_id_again_after_a_refusal(new_stack):
    stack = new_stack(auth=False, gateways=1)
    alice, bob = stack.users("alice", "bob")
    writer = Chat(stack, alice)
    stack.router.kill()
    payload = {"chatId": bob, "message": "hi", "clientMessageId": "c-1"}
    assert writer.response(writer.send("new", payload, id="one"), 2 * PATIENCE)["error"][
        "code"] == 503
    stack.add_router()

    def answer():
        given = writer.response(writer.send("new", payload, id="one"), 2 * PATIENCE)
        return given.get("payload")

    assert wait_until(answer, "it is done", 3 * PATIENCE) == {
        "messageId": 1, "clientMessageId": "c-1"}
    assert [message["messageId"] for message in
            writer.ask("getMessages", {"chatId": bob, "count": 10})] == [1]


def test_what_is_done_after_its_503_is_an_event(new_stack):
    """The writer is not left in doubt: of what was answered he gets no event, of this he does."""
    stack = new_stack(auth=False, lease_ms=30000)
    alice, bob = stack.users("alice", "bob")
    writer, other, reader = Chat(stack, alice), Chat(stack, alice, gateway=1), Chat(stack, bob)
    assert writer.new(bob, "zero") == 1
    with stack.router.paused():
        asked = writer.send("new", {"chatId": bob, "message": "one"})
        assert writer.response(asked, 4 * PATIENCE)["error"]["code"] == 503
    reader.await_event(2)
    assert writer.new(bob, "two") == 3
    reader.new(alice, "three")
    for device in (other, writer):
        device.await_event(4)
    assert [event["id"] for event in other.events()] == [1, 2, 3, 4]
    # "two" may have been done before it had caught up.
    assert [event["id"] for event in writer.events()] in ([2, 4], [2, 3, 4])
    assert writer.client.close_code is None


def test_one_who_writes_has_his_own_events_behind_him(new_stack):
    """His gateway is buried and comes back: what he did and was answered does not come again."""
    stack = new_stack(auth=False, gateway_death_ms=2000, heartbeat_ms=200)
    alice, bob = stack.users("alice", "bob")
    writer, reader = Chat(stack, alice, gateway=1), Chat(stack, bob)
    for number in range(20):
        writer.new(bob, str(number))
    reader.await_event(20)
    with stack.gateways[1].paused():
        wait_until(lambda: reader.others("offline"), "the gateway is buried", 2 * PATIENCE)
    wait_until(stack.gateways[1].is_ready, "it is back", 2 * PATIENCE)
    assert done(reader, "new", {"chatId": alice, "message": "last"})["messageId"] == 21
    writer.await_event(21)
    assert [event["id"] for event in writer.events()] == [21]
