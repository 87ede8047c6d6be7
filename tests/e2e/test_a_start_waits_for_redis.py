"""A process that starts before Redis waits for it, says so once, and goes on by itself."""

import os

import pytest

from harness import Process, Redis, Stack, free_port, http
from waiting import BUILD, wait_until

KINDS = ["gateway", "router", "auth"]


@pytest.fixture
def starting(tmp_path):
    """Makes a process of a kind, whose Redis is not there yet, with the address of its pages."""
    started = []

    def start(kind, **settings):
        address = f"127.0.0.1:{free_port()}"
        listen = {"gateway": "GATEWAY_LISTEN", "router": "METRICS_LISTEN", "auth": "AUTH_LISTEN"}
        process = Process(kind, [f"{BUILD}/{kind}"], str(tmp_path), {
            f"TRUNKLINE_{listen[kind]}": address, "TRUNKLINE_AUTH_KEYS": str(tmp_path / "keys"),
            "TRUNKLINE_NAME": kind,
            **{f"TRUNKLINE_{name.upper()}": str(value) for name, value in settings.items()}})
        process.address = address
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.is_alive():
            process.kill()


@pytest.fixture
def redis(tmp_path):
    os.mkdir(tmp_path / "redis")
    redis = Redis(str(tmp_path / "redis"))
    yield redis
    if redis.is_alive():
        redis.kill()


def complaints(process):
    return [line for line in process.log().splitlines() if " info " not in line]


def page(process, path):
    return http("GET", f"http://{process.address}{path}")


@pytest.mark.parametrize("kind", KINDS)
def test_it_waits_and_says_so_once(starting, redis, kind):
    process = starting(kind, redis=redis.url)
    wait_until(lambda: complaints(process) or not process.is_alive(), "it says why it waits")
    wait_until(lambda: page(process, "/readyz")[0] == 503, "it is not ready")
    assert page(process, "/healthz")[0] == 200 and page(process, "/metrics")[0] == 200
    redis.start()
    wait_until(lambda: " ready: " in process.log(), "it goes on by itself")
    line, = complaints(process)
    assert " warn " in line and str(redis.port) in line and "waiting" in line
    process.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_an_end_while_it_waits_is_orderly(starting, kind):
    process = starting(kind, redis=f"redis://127.0.0.1:{free_port()}")
    wait_until(lambda: complaints(process), "it waits")
    process.stop()
    assert len(complaints(process)) == 1, process.log()


@pytest.mark.parametrize("kind", KINDS)
def test_another_deployment_still_ends_it(starting, redis, kind):
    redis.start()
    wait_until(redis.is_ready, "Redis answers")
    redis.command("HSET", "trunkline:deployment", "partitions", "16", "hash_key", "00" * 16,
                  "frame_version", "999", "created", "1")
    redis.stop()
    process = starting(kind, redis=redis.url)
    wait_until(lambda: complaints(process), "it waits")
    redis.start()
    process.await_exit(1)
    *waits, end = complaints(process)  # a second one when Redis is met while it loads
    assert waits and all("waiting" in line for line in waits) and "999" in end, process.log()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("credentials, refusal", [("", "NOAUTH"), (":wrong@", "WRONGPASS")])
def test_a_wrong_password_ends_it(starting, redis, kind, credentials, refusal):
    redis.start()
    wait_until(redis.is_ready, "Redis answers")
    redis.command("CONFIG", "SET", "requirepass", "secret")
    process = starting(kind, redis=redis.url.replace("//", "//" + credentials))
    process.await_exit(1)
    line, = complaints(process)
    assert refusal in line and "TRUNKLINE_REDIS" in line


def test_a_deployment_that_starts_without_redis_serves():
    stack = Stack(auth=True)
    try:
        for process in stack.processes[:-1]:
            process.start()
            wait_until(lambda: complaints(process), f"{process.name} waits")
        assert stack.auth.post("/register", {"username": "a", "password": "12345678"})[0] == 503
        assert stack.gateways[0].get("/ws")[0] == 503
        assert stack.gateways[0].get("/api/v1/users/a")[0] == 503
        stack.redis.start()
        stack.await_ready()
        alice, bob = stack.users("alice", "bob")
        receiver, sender = stack.connect(bob, 1), stack.connect(alice)
        sender.direct(bob, 1)
        receiver.await_count("DirectMessage", 1)
    finally:
        stack.close()


@pytest.mark.parametrize("bearer", ["no.such.token", "0123456789abcdef"])
def test_meanwhile_the_api_is_not_available(starting, redis, bearer):
    gateway = starting("gateway", redis=redis.url, api_keys="shop:publish:0123456789abcdef")
    wait_until(lambda: page(gateway, "/healthz")[0] == 200, "it listens")
    status, _ = http("POST", f"http://{gateway.address}/api/v1/publish",
                     {"topic": "a", "message": "m"},
                     {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"})
    assert status == 503
