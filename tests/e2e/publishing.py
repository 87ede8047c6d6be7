"""Numbered broadcasts to one topic in the background, some 1,000 a second."""

import collections
import threading
import time

from client import Closed
from waiting import PATIENCE, wait_until

WINDOW = 256  # unanswered broadcasts
BURST = 20
PAUSE = 0.02  # seconds between bursts


class Publishing:
    def __init__(self, sender, topic):
        self._sender = sender
        self.topic = topic
        self.published = 0  # and answered
        self.failure = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        unanswered, number = collections.deque(), 0
        try:
            while not self._stopping.is_set():
                for _ in range(BURST):
                    unanswered.append(self._sender.send_broadcast(self.topic, number))
                    number += 1
                while len(unanswered) > WINDOW:
                    self._settle(unanswered.popleft())
                time.sleep(PAUSE)
            while unanswered:
                self._settle(unanswered.popleft())
        except (AssertionError, Closed) as failure:
            self.failure = failure

    def _settle(self, id):
        answer = self._sender.answer(id, timeout=2 * PATIENCE)
        assert answer["type"] == "Ack", answer
        self.published += 1

    def await_more(self, count):
        goal = self.published + count
        wait_until(lambda: self.published >= goal or self.failure, f"{count} more are published",
                   2 * PATIENCE)
        assert not self.failure, self.failure

    def finish(self):
        """Ends it, when all is answered; returns how many there were."""
        self._stopping.set()
        self._thread.join()
        assert not self.failure, self.failure
        return self.published


def places(reader):
    """Offset and payload of each Broadcast that came."""
    return [(data["metadata"]["offset"], data["payload"]) for data in reader.of_type("Broadcast")]


def check_dense(reader, first=None):
    """Every offset once and in order, each with the message that was published as that one."""
    came = places(reader)
    if not came:
        return
    start = came[0][0] if first is None else first
    assert [offset for offset, _ in came] == list(range(start, start + len(came)))
    assert all(payload == offset - 1 for offset, payload in came)
