"""What somebody else writes into our keys is an alarm in the log, and concerns at most its user."""

from waiting import wait_until


def counter(stack, name):
    return int(stack.redis.command("HGET", "trunkline:process:router-1", name) or 0)


def test_a_user_whose_keys_are_of_the_wrong_type(new_stack):
    stack = new_stack(auth=False)
    for p in range(16):
        stack.redis.command("SET", f"trunkline:{{{p}}}:user:mallory", "not a hash")
        stack.redis.command("SET", f"trunkline:{{{p}}}:mailbox:mallory", "not a stream")
    sender = stack.connect("mallory")
    for number, user in enumerate(stack.users(*["anna"] * 24)):
        receiver = stack.connect(user, gateway=1)
        assert sender.direct(user, number)["type"] == "Ack"
        assert receiver.take("DirectMessage")["payload"] == number
    assert "user:mallory cannot be read" in stack.router.log()


def test_an_entry_in_an_output_stream(new_stack):
    stack = new_stack(auth=False)
    anna, ben = stack.users("anna", "ben")
    sender, receiver = stack.connect(anna), stack.connect(ben, gateway=1)
    for key in stack.redis.command("KEYS", "trunkline:*:out:*"):
        stack.redis.command("XADD", key, "*", "e", "garbage")
    for number in range(20):
        sender.send_direct(ben, number)
    deliveries = receiver.await_count("DirectMessage", 20)
    assert [delivery["payload"] for delivery in deliveries] == list(range(20))


def test_an_entry_that_holds_no_frames(new_stack):
    stack = new_stack(auth=False)
    for p in range(16):
        stack.redis.command("XADD", f"trunkline:{{{p}}}:in", "*",
                            "g", "stranger-0123456789abcdef", "n", "0", "f", "garbage")
    anna, ben = stack.users("anna", "ben")
    sender, receiver = stack.connect(anna), stack.connect(ben, gateway=1)
    assert sender.direct(ben, "hello")["type"] == "Ack"
    assert receiver.take("DirectMessage")["payload"] == "hello"
    for p in range(16):
        assert stack.redis.command("XLEN", f"trunkline:{{{p}}}:dead") == 1
        # Gateways say something again and again.
        wait_until(lambda: stack.redis.command("XLEN", f"trunkline:{{{p}}}:in") == 0,
                   "the input is empty")
    assert stack.router.log().count("holds what is no frame") == 16
    wait_until(lambda: (counter(stack, "malformed"), counter(stack, "direct_messages")) == (16, 1),
               "malformed entries are counted")
