"""Prometheus finds on each process what a message cost it, hop by hop."""

import re
import socket
import urllib.request

import pytest

from harness import free_port, http
from waiting import PATIENCE, wait_until

SAMPLE = re.compile(r'^trunkline_\w+(\{process="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+$')


@pytest.fixture(scope="module")
def metrics_stack(module_stack):
    return module_stack(auth=False, metrics_listen=f"127.0.0.1:{free_port()}")


def page(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def router_address(stack):
    return stack.router._environment["TRUNKLINE_METRICS_LISTEN"]


def sample(text, name, **labels):
    for line in text.splitlines():
        if line.startswith(f"trunkline_{name}{{") and all(
                f'{label}="{value}"' in line for label, value in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name} {labels} in\n{text}")


def test_each_hop_is_counted(metrics_stack):
    alice, bob = metrics_stack.users("alice", "bob")
    receiver, sender = metrics_stack.connect(bob, 1), metrics_stack.connect(alice)
    for number in range(20):
        sender.direct(bob, number)
    receiver.await_count("DirectMessage", 20)
    near, far = (page(gateway.address) for gateway in metrics_stack.gateways)
    assert sample(near, "accept_seconds_count") >= 1
    assert sample(near, "entry_bytes_sum") > 20 * 50
    assert sample(far, "delivery_seconds_count") >= 20
    assert sample(far, "delivery_seconds_bucket", le="+Inf") >= 20
    assert sample(near, "protocol_connections", protocol="realtime") == 1
    router = page(router_address(metrics_stack))
    assert sample(router, "commit_seconds_count") >= 20
    assert sample(router, "commit_entries_sum") >= 20
    assert sample(router, "lag_seconds_count") >= 20
    assert sample(router, "direct_messages_total") >= 20


def test_every_line_is_prometheus_text(metrics_stack):
    addresses = [*(gateway.address for gateway in metrics_stack.gateways),
                 router_address(metrics_stack)]
    for text in map(page, addresses):
        for line in text.splitlines():
            assert line.startswith(("# HELP trunkline_", "# TYPE trunkline_")) or SAMPLE.match(
                line), line
        names = re.findall(r"^# TYPE (\S+)", text, re.M)
        assert len(names) == len(set(names))


def test_the_routers_listener_is_bounded(metrics_stack):
    host, port = router_address(metrics_stack).split(":")
    assert http("GET", f"http://{host}:{port}/healthz") == (200, {"status": "ok"})
    assert http("GET", f"http://{host}:{port}/readyz") == (200, {"status": "ready"})
    assert http("GET", f"http://{host}:{port}/secrets")[0] == 404
    idle = [socket.create_connection((host, int(port))) for _ in range(40)]
    flood = socket.create_connection((host, int(port)))
    try:
        flood.sendall(b"GET /" + b"a" * 100000)
    except OSError:
        pass  # it was sent away already
    for visitor in idle:
        visitor.close()
    wait_until(lambda: http("GET", f"http://{host}:{port}/healthz")[0] == 200,
               "the listener answers again")
