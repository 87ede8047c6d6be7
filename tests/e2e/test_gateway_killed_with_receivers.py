"""kill -9 of a gateway: what was accepted for its users comes when they connect elsewhere."""

from traffic import Traffic
from waiting import wait_until

SETTINGS = {"auth": False, "heartbeat_ms": 200, "gateway_death_ms": 1500}


def test_its_users_get_the_rest_elsewhere(new_stack):
    stack = new_stack(**SETTINGS)
    senders = [stack.connect(user) for user in stack.users(*["sender"] * 3)]
    users = stack.users(*["receiver"] * 6)
    lonely, = stack.users("lonely")
    stack.connect(lonely, gateway=1)
    connections = {user: [stack.connect(user, gateway=1)] for user in users}

    traffic = Traffic(senders, users)
    traffic.await_more(500)
    stack.gateways[1].kill()
    for user in users[:3]:  # before it is taken for dead
        connections[user].append(stack.connect(user))
    traffic.await_more(500)
    wait_until(lambda: senders[0].direct(lonely, 1)["type"] == "Error",
               "the gateway is taken for dead")
    traffic.await_more(500)
    for user in users[3:5]:  # while more comes
        connections[user].append(stack.connect(user))
    traffic.await_more(500)
    traffic.finish()
    connections[users[5]].append(stack.connect(users[5]))
    for user in users:
        traffic.check(user, connections[user])


def test_it_starts_again_under_its_name(new_stack):
    stack = new_stack(**SETTINGS)
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    stack.connect(bob, gateway=1).subscribe("topic.*")
    stack.gateways[1].kill()
    stack.gateways[1].start()
    wait_until(stack.gateways[1].is_ready, "it is ready again")
    receiver = stack.connect(bob, gateway=1)
    assert receiver.connection_id in sender.direct(bob, "hello")["data"]["delivered_to"]
    assert receiver.take("DirectMessage")["payload"] == "hello"
    wait_until(lambda: sender.broadcast("topic.a", 1)["data"]["recipients"] == 0,
               "subscriptions of the dead one are forgotten")
