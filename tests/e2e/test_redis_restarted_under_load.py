"""Redis goes and comes back: connections stay, requests meanwhile get a 503, then all goes on."""

from client import Refused
from traffic import Traffic
from waiting import wait_until


def is_refused_with_503(connect):
    try:
        connect().close()
    except Refused as refusal:
        return refusal.status == 503
    return False


def asks_and_gets_503(client):
    """The first ones may be held instead: a blink of Redis is not told to clients."""
    client.send_direct("nobody", 0)
    client.ping()
    return 503 in [data["code"] for data in client.of_type("Error")]


def test_restart_with_its_append_only_file(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    senders = [stack.connect(user, gateway=n % 2)
               for n, user in enumerate(stack.users(*["sender"] * 4))]
    users = stack.users(*["receiver"] * 4)
    receivers = {user: stack.connect(user, gateway=n % 2) for n, user in enumerate(users)}
    asking, newcomer = stack.users("asking", "newcomer")
    askers = [stack.connect(asking), stack.connect(asking)]

    traffic = Traffic(senders, users)
    for asker in askers:
        traffic.await_more(500)
        stack.redis.stop()
        wait_until(lambda: not stack.gateways[0].is_ready(whole=False),
                   "the gateway says it is not ready")
        wait_until(lambda: asks_and_gets_503(asker), "requests get a 503")
        assert is_refused_with_503(lambda: stack.connect(newcomer))
        stack.redis.start()
        stack.await_ready()
        traffic.await_more(500)
    traffic.finish()

    assert {data["code"] for data in traffic.refused} <= {503}
    for user, receiver in receivers.items():
        traffic.check(user, [receiver])
    for asker in askers:
        asker.ping()


def test_pings_are_answered_without_redis(new_stack):
    stack = new_stack(auth=False)
    client = stack.connect("alice")
    stack.redis.stop()
    wait_until(lambda: not stack.gateways[0].is_ready(whole=False), "the gateway is not ready")
    client.ping()
    stack.redis.start()
    stack.await_ready()
    assert client.direct("alice", 1)["data"]["delivered_to"] == [client.connection_id]
