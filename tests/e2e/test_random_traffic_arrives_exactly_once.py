"""Fifty clients on two gateways write to each other at random: each message arrives once."""

import random
from collections import Counter

SEED = 20
CLIENTS = 50
MESSAGES = 3000


def test_direct_messages_at_random(new_stack):
    stack = new_stack(auth=False)
    choice = random.Random(SEED)
    clients = {user: stack.connect(user, gateway=choice.randrange(2))
               for user in stack.users(*["user"] * CLIENTS)}
    users = list(clients)
    sent = {user: [] for user in users}
    requests = []
    for number in range(MESSAGES):
        sender, receiver = choice.choice(users), choice.choice(users)
        payload = {"number": number, "text": "x" * choice.randrange(2000)}
        requests.append((sender, clients[sender].send_direct(receiver, payload)))
        sent[receiver].append((sender, number))
    for sender, id in requests:
        answer = clients[sender].answer(id)
        assert answer["type"] == "Ack", answer

    for user, client in clients.items():
        deliveries = client.await_count("DirectMessage", len(sent[user]))
        client.ping()
        received = [(data["from_user"], data["payload"]["number"]) for data in deliveries]
        assert Counter(received) == Counter(sent[user])
        for sender in users:
            numbers = [number for name, number in received if name == sender]
            assert numbers == sorted(numbers), f"{sender} to {user}"
