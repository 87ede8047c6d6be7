"""Numbered direct messages in the background, with a journal of what was accepted of them."""

import collections
import threading

from client import Closed
from waiting import PATIENCE, wait_until

WINDOW = 32  # unanswered messages of one sender


class Traffic:
    """
    Every sender (a Client) writes to every receiver (a user name) in turn, until finish().
    Accepted is what was answered with an Ack, or with the 404 that says "queued".
    """

    def __init__(self, senders, receivers):
        self._receivers = receivers
        self._accepted = {user: set() for user in receivers}
        self.accepted_count = 0
        self.refused = []  # answers of other kinds
        self._failures = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(sender, index), daemon=True)
                         for index, sender in enumerate(senders)]
        for thread in self._threads:
            thread.start()

    def _run(self, sender, index):
        unanswered = collections.deque()
        number = 0
        try:
            while not self._stopping.is_set():
                to = self._receivers[number % len(self._receivers)]
                id = sender.send_direct(to, {"sender": index, "number": number})
                unanswered.append((id, to, number))
                number += 1
                if len(unanswered) == WINDOW:
                    self._settle(sender, index, *unanswered.popleft())
            while unanswered:
                self._settle(sender, index, *unanswered.popleft())
        except Closed:
            pass  # what was not answered may or may not arrive
        except Exception as failure:  # shown by finish(), in the test's own thread
            self._failures.append(failure)

    def _settle(self, sender, index, id, to, number):
        answer = sender.answer(id, timeout=2 * PATIENCE)
        data = answer["data"]
        if answer["type"] == "Ack" or data["details"].get("queued"):
            self._accepted[to].add((index, number))
            self.accepted_count += 1
        else:
            self.refused.append(data)

    def await_more(self, count):
        """Waits until so many more have been accepted."""
        goal = self.accepted_count + count
        wait_until(lambda: self.accepted_count >= goal or self._failures,
                   f"{count} more messages accepted", 2 * PATIENCE)
        assert not self._failures, self._failures[0]

    def finish(self):
        """Ends it, when the last answer has come."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures[0]

    def check(self, user, connections):
        """What was accepted has arrived on one of these connections of user, on each in order."""
        def missing():
            return self._accepted[user].difference(*map(numbers_of, connections))

        try:
            wait_until(lambda: not missing(), "all has arrived")
        except AssertionError:
            raise AssertionError(f"{user} misses {len(missing())} of "
                                 f"{len(self._accepted[user])}: {sorted(missing())[:20]}") from None
        for connection in connections:
            assert_order(connection)


def numbers_of(connection):
    return [(data["payload"]["sender"], data["payload"]["number"])
            for data in connection.of_type("DirectMessage")]


def assert_order(connection):
    """The numbers of each sender rise: nothing is out of order, nothing comes twice."""
    last = {}
    for sender, number in numbers_of(connection):
        assert number > last.get(sender, -1), (
            f"{connection.user}: {number} of sender {sender} after {last[sender]}")
        last[sender] = number
