"""FLUSHALL takes all that was stored; what lives announces itself again, and goes on."""

from client import Closed, Refused
from waiting import wait_until


def test_connections_go_on(new_stack):
    stack = new_stack(lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    alice, bob, carol = stack.users("alice", "bob", "carol")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    stack.token(carol)
    sender.direct(bob, "before")
    receiver.take("DirectMessage")
    stack.redis.command("FLUSHALL")

    # Nothing is promised until it has healed, an answer neither; from then on everything is.
    tries = set()

    def is_found():
        tries.add(sender.send_direct(bob, "healing"))
        return any(receiver.connection_id in delivered_to(message)
                   for message in list(sender.arrived) if message.get("id") in tries)

    wait_until(is_found, "bob is found again")
    for n in range(100):
        assert delivered_to(sender.direct(bob, n)) == [receiver.connection_id]
    wait_until(lambda: receiver.of_type("DirectMessage")[-1]["payload"] == 99, "all arrived")
    payloads = [data["payload"] for data in receiver.of_type("DirectMessage")]
    assert payloads[-100:] == list(range(100))
    assert payloads[0] == "before"
    sender.ping()
    receiver.ping()

    wait_until(lambda: stack.auth.get("/.well-known/jwks.json")[0] == 200, "auth answers")
    assert stack.connect(carol).direct(bob, "old token")["type"] == "Ack"


def delivered_to(answer):
    return answer["data"].get("delivered_to", [])


def test_subscribers_come_back(new_stack):
    """A subscriber is kept or told to come again (1012): never left without its topic."""
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    reader, publisher = stack.connect("reader", gateway=1), stack.connect("publisher")
    reader.subscribe("topic.a", "topic.*")
    stack.redis.command("FLUSHALL")
    wait_until(lambda: len(stack.redis.command("KEYS", "trunkline:*:state")) == 16,
               "every partition is back")

    subscribed = True

    def subscribe():
        """As one who was sent away; the service may be away for a moment, too."""
        nonlocal reader, subscribed
        if reader.close_code:
            assert reader.close_code == 1012
            subscribed = False
            reader = stack.connect("reader", gateway=1, settled=False)
        if not subscribed:
            answer = reader.answer(reader.send("Subscribe", {"topics": ["topic.a", "topic.*"]}))
            assert answer["type"] == "Ack" or answer["data"]["code"] == 503, answer
            subscribed = answer["type"] == "Ack"

    def hears():
        try:
            subscribe()
        except (Closed, Refused):
            return False
        publisher.send_broadcast("topic.a", "x")
        return reader.of_type("Broadcast")

    wait_until(hears, "the subscriber gets its topic")
