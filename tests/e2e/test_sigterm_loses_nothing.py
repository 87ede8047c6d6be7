"""SIGTERM: a gateway sends its clients elsewhere (1012), a router hands over; nothing is lost."""

from traffic import Traffic


def test_gateway_ends_in_the_middle_of_traffic(new_stack):
    stack = new_stack(auth=False)
    senders = [stack.connect(user, gateway=n % 2)
               for n, user in enumerate(stack.users(*["sender"] * 4))]
    users = stack.users(*["receiver"] * 4)
    connections = {user: [stack.connect(user, gateway=1)] for user in users}

    traffic = Traffic(senders, users)
    traffic.await_more(500)
    stack.gateways[1].terminate()
    for user in users:
        assert connections[user][0].await_close() == 1012
        connections[user].append(stack.connect(user))
    assert [sender.await_close() for sender in senders[1::2]] == [1012, 1012]
    stack.gateways[1].await_exit()
    traffic.await_more(500)
    traffic.finish()
    for user in users:
        traffic.check(user, connections[user])


def test_router_hands_over(new_stack):
    stack = new_stack(auth=False, lease_ms=60000)  # waiting for a lease would show
    senders = [stack.connect(user) for user in stack.users(*["sender"] * 3)]
    users = stack.users(*["receiver"] * 3)
    receivers = {user: stack.connect(user, gateway=1) for user in users}

    traffic = Traffic(senders, users)
    router = stack.router
    for _ in range(2):
        traffic.await_more(500)
        successor = stack.add_router()
        router.stop()
        router = successor
    traffic.await_more(500)
    traffic.finish()
    assert traffic.refused == []
    for user, receiver in receivers.items():
        traffic.check(user, [receiver])
