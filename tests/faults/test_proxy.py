"""Each fault of the proxy does what it says, to a real Redis."""

import json
import os
import subprocess
import sys
import time

import pytest

from harness import Redis as RedisProcess, free_port
from resp import Redis, RequestSplitter, encode
from waiting import PATIENCE, SLOWNESS, wait_until

PROXY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "proxy.py")
COUNT_UP = "return redis.call('INCR', KEYS[1])"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    process = RedisProcess(str(tmp_path_factory.mktemp("redis")))
    process.start()
    wait_until(process.is_ready, "Redis answers")
    yield process
    process.stop()


class Proxied:
    """A proxy with one link, and a script that counts."""

    def __init__(self, redis):
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, PROXY, "--upstream", f"127.0.0.1:{redis.port}",
             "--link", f"link={self.port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert json.loads(self._process.stdout.readline())["ready"]
        self.direct = Redis(redis.url)
        self.direct("DEL", "n")
        self._script = self.direct("SCRIPT", "LOAD", COUNT_UP)

    def connect(self):
        return Redis(f"redis://127.0.0.1:{self.port}")

    def fault(self, name, seconds=1.0):
        line = json.dumps({"link": "link", "fault": name, "seconds": seconds, "tell": True}) + "\n"
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        assert json.loads(self._process.stdout.readline()) == {"armed": name}

    def late(self):
        """What Redis answered to what ran late."""
        return json.loads(self._process.stdout.readline())["late"]

    def count_up(self, connection):
        return connection("EVALSHA", self._script, "1", "n")

    def counted(self):
        return int(self.direct("GET", "n") or 0)

    def close(self):
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


@pytest.fixture
def proxied(redis):
    proxied = Proxied(redis)
    yield proxied
    proxied.close()


def test_without_a_fault_everything_passes(proxied):
    connection = proxied.connect()
    assert connection("SET", "big", b"\r\n*3\r\n" * 100_000) == "OK"
    assert connection("GET", "big") == b"\r\n*3\r\n" * 100_000
    assert [proxied.count_up(connection) for _ in range(3)] == [1, 2, 3]


def test_a_lost_reply_has_had_its_effect(proxied):
    connection = proxied.connect()
    proxied.fault("cut_reply")
    assert connection("PING") == "PONG", "only scripts are meant"
    with pytest.raises(ConnectionError):
        proxied.count_up(connection)
    assert proxied.counted() == 1
    assert proxied.count_up(proxied.connect()) == 2


def test_half_a_request_has_none(proxied):
    connection = proxied.connect()
    proxied.fault("half_request")
    with pytest.raises(ConnectionError):
        proxied.count_up(connection)
    assert proxied.counted() == 0


def test_half_a_reply_is_none(proxied):
    connection = proxied.connect()
    proxied.fault("half_reply")
    with pytest.raises(ConnectionError):
        connection("ECHO", "x" * 100)


def test_a_held_script_runs_later(proxied):
    connection = proxied.connect()
    proxied.fault("hold", 2 * SLOWNESS)
    with pytest.raises(ConnectionError):
        proxied.count_up(connection)
    assert proxied.counted() == 0
    assert proxied.count_up(proxied.connect()) == 1
    wait_until(lambda: proxied.counted() == 2, "the held one has run")


@pytest.mark.parametrize("touched, counted", ((False, 1), (True, 0)))
def test_a_held_transaction_runs_later_if_nobody_touched_what_it_watches(proxied, touched, counted):
    connection = proxied.connect()
    proxied.direct("DEL", "watched")
    connection("WATCH", "watched")
    proxied.fault("hold", 1 * SLOWNESS)
    with pytest.raises(ConnectionError):
        connection.together([("INCR", "n")])
    assert proxied.counted() == 0
    if touched:
        proxied.direct("SET", "watched", "x")
    assert proxied.late() == ("NIL" if touched else "EXEC")
    assert proxied.counted() == counted


def test_a_stall_lasts_and_ends(proxied):
    connection = proxied.connect()
    assert connection("PING") == "PONG"
    started = time.monotonic()
    proxied.fault("stall", 1.0)
    assert connection("PING") == "PONG"
    assert 1.0 <= time.monotonic() - started < PATIENCE


def test_a_cut_ends_all(proxied):
    connections = [proxied.connect() for _ in range(2)]
    for connection in connections:
        connection("PING")
    proxied.fault("cut")
    for connection in connections:
        with pytest.raises(OSError):
            connection("PING")


def test_requests_are_cut_where_they_end():
    requests = [encode("PING"), encode("SET", "k", b"\r\n$3\r\n"), encode("EVALSHA", "", "0")]
    stream = b"".join(requests)
    for size in (1, 3, 7, 1000):
        splitter = RequestSplitter()
        got = [request for at in range(0, len(stream), size)
               for request in splitter.feed(stream[at:at + size])]
        assert got == requests
