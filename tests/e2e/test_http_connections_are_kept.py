"""
A connection of HTTP carries one request after another, with the clients that backends use; it ends
when that is agreed, and where the next request would not be certain to be understood.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from http.client import HTTPConnection, HTTPSConnection, parse_headers

import pytest

from api import KEYS, SECRETS, Api
from authority import Authority
from harness import Process, free_port, http
from waiting import PATIENCE, wait_until

CLIENTS = os.path.join(os.path.dirname(__file__), "clients")
KEY = f"Authorization: Bearer {SECRETS['publish']}"
JSON = "Content-Type: application/json"
BODY = b'{"topic":"a","message":"m"}'
HEADERS = {"Authorization": f"Bearer {SECRETS['admin']}", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    authority = Authority(str(directory))
    files = {"gateway_tls_certificate": str(directory / "cert.pem"),
             "gateway_tls_key": str(directory / "key.pem")}
    authority.issue("gateway", files["gateway_tls_certificate"], files["gateway_tls_key"])
    return authority, files


@pytest.fixture(scope="module")
def here(module_stack, files):
    return module_stack(auth=False, gateways=1, api_keys=KEYS, **files[1])


@contextlib.contextmanager
def http_connection(address, kind=HTTPConnection, **options):
    """One that does not connect again by itself."""
    connection = kind(address, timeout=PATIENCE, **options)
    connection.connect()
    connection.auto_open = False
    yield connection
    connection.close()


def ask(connection, method, path, body=None, **options):
    connection.request(method, path, body, HEADERS if body is not None else {}, **options)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def take_socket(connection):
    """The connection is somebody else's from now on."""
    taken, connection.sock = connection.sock, None
    taken.setblocking(False)
    return taken


def curl(*words, data=None):
    """What -w says: a line of each answer's status and the connections it took."""
    done = subprocess.run(
        ["curl", "-sS", "-m", str(PATIENCE), "-o", "/dev/null", "-w",
         "%{http_code} %{num_connects}\n", *words],
        input=data, capture_output=True, check=False)
    return done.stdout.decode().splitlines(), done.stderr.decode()


# ---- clients ------------------------------------------------------------------------------------

def test_curl_takes_one_connection(here):
    url = f"http://{here.gateways[0].address}"
    post = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", "-H", KEY, "-H", JSON]
    publish = [*post, "--data-binary", BODY.decode(), f"{url}/api/v1/publish"]
    chunked = ["-H", "Transfer-Encoding: chunked", *publish]
    lines, errors = curl(f"{url}/healthz", f"{url}/metrics", f"{url}/nothing",
                         *["-o", "/dev/null"] * 2, "--next", *publish, "--next", *chunked,
                         "--next", *publish)
    assert lines == ["200 1", "200 0", "404 0", "200 0", "200 0", "200 0"], errors


@pytest.mark.parametrize("how", [[], ["-H", "Transfer-Encoding: chunked"]])
@pytest.mark.parametrize("size, status", [(2**20, "200"), (2**20 + 1, "413"), (2**23, "413")])
def test_curl_asks_before_a_long_body(here, how, size, status):
    """It sends Expect: 100-continue for what is 1 MiB and longer."""
    text = b'{"topic":"a","message":"%s"}' % (b"x" * (size - len(BODY) + 1))
    done = subprocess.run(
        ["curl", "-sv", "-m", str(PATIENCE), "--expect100-timeout", "60", "-H", KEY, "-H", JSON,
         "-H", "Expect: 100-continue", *how, "--data-binary", "@-",
         f"http://{here.gateways[0].address}/api/v1/publish"],
        input=text, capture_output=True, check=False)
    said = done.stderr.decode()
    assert f"HTTP/1.1 {status} " in said, said
    assert ("100 Continue" in said) == (status == "200" or how != []), said
    assert ("left intact" in said) == (status == "200"), said


def test_python_takes_one_connection(here):
    with http_connection(here.gateways[0].address) as connection:
        for n in range(200):
            status, text = ask(connection, "POST", "/api/v1/publish",
                               json.dumps({"topic": "a", "payload": n, "id": f"python-{n}"}))
            assert (status, json.loads(text)["id"]) == (200, f"python-{n}")
            parts = iter([b'{"topic":"a",', b'"payload":%d,' % n, b'"id":"chunked-%d"}' % n])
            status, text = ask(connection, "POST", "/api/v1/publish", parts, encode_chunked=True)
            assert (status, json.loads(text)["id"]) == (200, f"chunked-{n}")


def test_errors_of_what_was_read_end_nothing(here):
    with http_connection(here.gateways[0].address) as connection:
        assert ask(connection, "GET", "/ws")[0] == 426
        assert ask(connection, "GET", "/nothing")[0] == 404
        assert ask(connection, "GET", "/api/v1/info")[0] == 401
        for body, status in ((b"nonsense", 400), (b"[]", 400), (b"{}", 400), (b"", 400),
                             (BODY, 200)):
            assert ask(connection, "POST", "/api/v1/publish", body)[0] == status
        assert ask(connection, "POST", "/api/v1/publish", iter([b"{}"]),
                   encode_chunked=True)[0] == 400


def test_head_has_no_body(here):
    with http_connection(here.gateways[0].address) as connection:
        for path, status in (("/healthz", 200), ("/metrics", 200), ("/nothing", 404),
                             ("/ws", 426), ("/api/v1/info", 405), ("/healthz", 200)):
            connection.request("HEAD", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (status, b"")
            assert int(answer.headers["Content-Length"]) > 0
        assert ask(connection, "GET", "/healthz")[0] == 200


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_node_takes_one_connection(here):
    done = subprocess.run(
        ["node", f"{CLIENTS}/node_http.js", f"http://{here.gateways[0].address}/api/v1/publish",
         SECRETS["publish"], "a", "50"], capture_output=True, text=True, check=False,
        timeout=2 * PATIENCE)
    agent, fetch = done.stdout.splitlines()
    assert agent == "agent 200 1", done.stderr
    # It opens another when it has not yet seen that an answer has ended.
    assert fetch in ("fetch 200 1", "fetch 200 2"), done.stderr


def test_tls_is_kept_too(here, files):
    long = b'{"topic":"a","message":"%s"}' % (b"x" * (2**20 - len(BODY) + 1))
    with http_connection(here.gateways[0].tls_address, HTTPSConnection,
                         context=files[0].context()) as connection:
        for body in (BODY, long, iter([BODY[:9], BODY[9:]]), iter([long]), BODY):
            status, text = ask(connection, "POST", "/api/v1/publish", body,
                               encode_chunked=not isinstance(body, bytes))
            assert status == 200, text


# ---- one connection, several kinds of requests --------------------------------------------------

def test_answers_come_in_the_order_of_requests(here):
    """All at once; those in the middle wait for their partitions."""
    api = Api(here)
    count = 50
    with socket.create_connection(api.address.split(":"), timeout=PATIENCE) as connection:
        for n in range(count):
            body = json.dumps({"topic": f"a{n}", "payload": n, "id": f"pipelined-{n}"}).encode()
            connection.sendall(api.head("publish", body) + body)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        stream = connection.makefile("rb")
        for n in range(count):
            assert read_next(stream)["id"] == f"pipelined-{n}"
            assert read_next(stream)["status"] == "ok"


def read_next(stream):
    assert stream.readline().startswith(b"HTTP/1.1 200 ")
    headers = parse_headers(stream)
    return json.loads(stream.read(int(headers["Content-Length"])))


def test_a_websocket_after_other_requests(here):
    alice, bob = here.users("alice", "bob")
    receiver = here.connect(bob)
    with http_connection(here.gateways[0].address) as connection:
        assert ask(connection, "GET", "/healthz")[0] == 200
        assert ask(connection, "POST", "/api/v1/publish", BODY)[0] == 200
        sender = here.connect(alice, sock=take_socket(connection))
        assert receiver.connection_id in sender.direct(bob, "hello")["data"]["delivered_to"]
        assert receiver.take("DirectMessage")["payload"] == "hello"


# ---- ends ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("head", [
    "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET /healthz HTTP/1.0\r\n\r\n",
    "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    "POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "nonsense\r\n\r\n",
])
def test_what_comes_behind_is_not_answered(here, head):
    api = Api(here)
    with socket.create_connection(api.address.split(":"), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 ") and answer.count(b"\nHTTP/1.1 ") == 0
    assert b"Connection: close\r\n" in answer


def test_idle_connections_end(new_stack):
    stack = new_stack(auth=False, gateways=1, http_idle_ms=1000)
    with http_connection(stack.gateways[0].address) as connection:
        assert ask(connection, "GET", "/healthz")[0] == 200
        assert connection.sock.recv(1) == b""


def test_so_many_requests_and_no_more(new_stack):
    stack = new_stack(auth=False, gateways=1, http_requests=3)
    url = f"http://{stack.gateways[0].address}/healthz"
    lines, errors = curl(*[url] * 7, *["-o", "/dev/null"] * 6)
    assert lines == ["200 1", "200 0", "200 0", "200 1", "200 0", "200 0", "200 1"], errors


def test_so_many_connections_are_kept(new_stack):
    stack = new_stack(auth=False, gateways=1, http_idle=2)
    gateway = stack.gateways[0]
    with contextlib.ExitStack() as all_of_them:
        first, second, third = (all_of_them.enter_context(http_connection(gateway.address))
                                for _ in range(3))
        for connection in (first, second, third):
            assert ask(connection, "GET", "/healthz")[0] == 200
        assert third.sock is None, "it was told to close"
        for connection in (first, second):
            assert ask(connection, "GET", "/healthz")[0] == 200


def test_a_gateway_that_ends_waits_for_nobody(new_stack):
    stack = new_stack(auth=False, gateways=1, api_keys=KEYS)
    with http_connection(stack.gateways[0].address) as connection:
        assert ask(connection, "POST", "/api/v1/publish", BODY)[0] == 200
        stack.gateways[0].terminate()
        assert connection.sock.recv(1) == b""
    stack.gateways[0].await_exit()


def test_a_gateway_that_ends_answers_what_waits(new_stack):
    stack = new_stack(auth=False, gateways=1, api_keys=KEYS)
    gateway = stack.gateways[0]
    stack.router.kill()
    with http_connection(gateway.address) as connection:
        connection.request("POST", "/api/v1/publish", BODY, HEADERS)
        wait_until(lambda: "api_requests_total{process=\"gateway-1\"} 1\n" in
                   gateway.get("/metrics")[1], "it is read")
        gateway.terminate()
        assert connection.getresponse().status == 504
    gateway.await_exit()


# ---- behind a proxy -----------------------------------------------------------------------------

HAPROXY = """
defaults
    mode http
    option forwardfor
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend clients
    bind {front}
    default_backend gateways
backend gateways
    server gateway-1 {gateway} send-proxy-v2 pool-low-conn 100
"""


@pytest.fixture
def proxied(new_stack, tmp_path):
    """A stack of one gateway, and the address of a haproxy in front of it."""
    stack = new_stack(auth=False, gateways=1, api_keys=KEYS, proxy_protocol="on", log="text:debug",
                      gateway_metrics_listen=f"127.0.0.1:{free_port()}")
    front = f"127.0.0.1:{free_port()}"
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(front=front, gateway=stack.gateways[0].address),
                             encoding="ascii")
    haproxy = Process("haproxy", [shutil.which("haproxy"), "-db", "-f", str(configuration)],
                      stack.directory)
    haproxy.start()
    wait_until(lambda: curl(f"http://{front}/readyz")[0] == ["200 1"], "haproxy lets through")
    yield stack, front
    haproxy.kill()


def accepted(stack):
    """How many connections the gateway has accepted."""
    _, text = http("GET", f"http://{stack.settings['gateway_metrics_listen']}/metrics")
    return int(re.search(r"^trunkline_http_connections_accepted\S* (\d+)", text, re.M).group(1))


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy here")
def test_haproxy_keeps_its_connections(proxied):
    """As deploy/haproxy.cfg has it: one for each client; whose a request is stays right."""
    stack, front = proxied
    before = accepted(stack)
    with contextlib.ExitStack() as both:
        clients = {address: both.enter_context(http_connection(front, source_address=(address, 0)))
                   for address in ("127.0.0.2", "127.0.0.3")}
        for _ in range(50):
            for client in clients.values():
                assert ask(client, "POST", "/api/v1/publish", BODY)[0] == 200
        for address, client in clients.items():
            assert ask(client, "GET", "/ws")[0] == 426
            wait_until(lambda: f"upgrade of /ws from {address} refused" in stack.gateways[0].log(),
                       "the log names it")
        assert accepted(stack) == before + 2
        alice, = stack.users("alice")
        stack.gateways[0].address, inner = front, stack.gateways[0].address
        try:
            stack.connect(alice, sock=take_socket(clients["127.0.0.2"])).ping()
        finally:
            stack.gateways[0].address = inner
