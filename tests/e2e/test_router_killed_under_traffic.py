"""kill -9 of the router in the middle of traffic: another goes on where it was."""

from traffic import Traffic


def test_nothing_accepted_is_lost_or_doubled(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    senders = [stack.connect(user, gateway=n % 2)
               for n, user in enumerate(stack.users(*["sender"] * 4))]
    users = stack.users(*["receiver"] * 6)
    receivers = {user: stack.connect(user, gateway=n % 2) for n, user in enumerate(users)}
    offline, = stack.users("offline")

    traffic = Traffic(senders, [*users, offline])
    router = stack.router
    for _ in range(3):
        traffic.await_more(500)
        router.kill()
        router = stack.add_router()
    traffic.await_more(500)
    traffic.finish()

    assert traffic.refused == []
    for user, receiver in receivers.items():
        traffic.check(user, [receiver])
    traffic.check(offline, [stack.connect(offline)])


def test_subscriptions_and_presence_go_on(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    topics = [f"topic.{n}" for n in range(20)]
    reader, publisher = stack.connect("reader", gateway=1), stack.connect("publisher")
    reader.subscribe(*topics[:10], "topic.*", "presence.publisher")
    stack.router.kill()
    stack.add_router()
    for topic in topics:
        assert publisher.broadcast(topic, topic)["data"]["recipients"] == 1
    received = [data["payload"] for data in reader.await_count("Broadcast", 20)]
    assert sorted(received) == sorted(topics)
    publisher.close()
    assert [data["status"] for data in reader.await_count("Presence", 2)] == ["online", "offline"]
