"""What waits in a mailbox outlives the sudden death of any process, and a restart of Redis."""

from waiting import wait_until


def queue(sender, to, numbers):
    """Sends them, and returns when all are queued."""
    for id in [sender.send_direct(to, number) for number in numbers]:
        answer = sender.answer(id)
        assert answer["data"].get("details", {}).get("queued") is True, answer


def test_one_fault_after_the_other(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    queue(sender, bob, range(0, 300))

    stack.router.kill()
    stack.add_router()
    queue(sender, bob, range(300, 400))

    stack.gateways[0].kill()
    sender = stack.connect(alice, gateway=1)
    queue(sender, bob, range(400, 500))

    stack.restart_redis()
    wait_until(stack.gateways[1].is_ready, "the gateway is ready again")
    queue(sender, bob, range(500, 600))

    receiver = stack.connect(bob, gateway=1)
    sender.direct(bob, 600)
    deliveries = receiver.await_count("DirectMessage", 601)
    assert [delivery["payload"] for delivery in deliveries] == list(range(601))
