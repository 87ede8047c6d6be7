"""metadata.priority "high" goes before others that wait for a slow receiver; all come once."""

from waiting import wait_until

COUNT = 3000
FILLER = "x" * 1000


def test_it_passes_those_that_wait(new_stack):
    stack = new_stack(auth=False, stall_ms=60000)
    sender = stack.connect("sender")
    receiver = stack.connect("receiver", gateway=1, reading=False, receive_buffer=4096)
    ids = [sender.send_direct("receiver", {"number": n, "filler": FILLER}) for n in range(COUNT)]
    for id in ids:
        sender.answer(id)
    for n in (COUNT, COUNT + 1):
        sender.answer(sender.send_direct("receiver", {"number": n}, metadata={"priority": "high"}))
    sender.answer(sender.send_direct("receiver", {"number": COUNT + 2}))
    receiver.read()
    wait_until(lambda: len(receiver.of_type("DirectMessage")) >= COUNT + 3, "all have come")
    numbers = [data["payload"]["number"] for data in receiver.of_type("DirectMessage")]
    assert sorted(numbers) == list(range(COUNT + 3))
    # What the kernels held went before; most of the rest waited.
    assert numbers.index(COUNT) < numbers.index(COUNT + 1) < COUNT / 2
    rest = [number for number in numbers if number not in (COUNT, COUNT + 1)]
    assert rest == sorted(rest)
