"""wss:// and https:// by the gateway itself: the same promises, and certificates that change."""

import os
import random
import socket
import ssl
import struct
import subprocess

import pytest

from authority import Authority
from traffic import Traffic
from waiting import PATIENCE, wait_until

LARGE = "x" * 16000


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    files = {"gateway_tls_certificate": str(directory / "cert.pem"),
             "gateway_tls_key": str(directory / "key.pem")}
    issue(authority, files, "first")
    return files


def issue(authority, files, name, **more):
    authority.issue(name, files["gateway_tls_certificate"], files["gateway_tls_key"], **more)


@pytest.fixture(scope="module")
def secure(module_stack, files):
    return module_stack(auth=False, **files)


def address_of(stack, gateway=0):
    host, port = stack.gateways[gateway].tls_address.split(":")
    return host, int(port)


def name_shown(stack, authority):
    with socket.create_connection(address_of(stack), timeout=PATIENCE) as tcp:
        with authority.context().wrap_socket(tcp, server_hostname="localhost") as tls:
            return dict(entry[0] for entry in tls.getpeercert()["subject"])["commonName"]


def test_messages_cross_between_wss_and_ws(secure, authority):
    alice, bob = secure.users("alice", "bob")
    sender = secure.connect(alice, ssl=authority.context())
    receiver = secure.connect(bob, gateway=1)
    assert receiver.connection_id in sender.direct(bob, {"text": LARGE})["data"]["delivered_to"]
    assert receiver.take("DirectMessage")["payload"] == {"text": LARGE}
    assert sender.connection_id in receiver.direct(alice, {"text": LARGE})["data"]["delivered_to"]
    assert sender.take("DirectMessage")["payload"] == {"text": LARGE}
    sender.close()
    assert sender.await_close() == 1000


def test_much_goes_both_ways_in_order(secure, authority):
    alice, = secure.users("alice")
    client = secure.connect(alice, ssl=authority.context())
    ids = [client.send_direct(alice, {"n": n, "text": LARGE}) for n in range(200)]
    client.await_count("DirectMessage", 200)
    assert [data["payload"]["n"] for data in client.of_type("DirectMessage")] == list(range(200))
    for id in ids:
        assert client.answer(id)["type"] == "Ack"


def test_https(secure, authority):
    def curl(*options):
        return subprocess.run(["curl", "-sS", "-m", "20", "--cacert", authority.certificate,
                               *options, f"https://{secure.gateways[0].tls_address}/readyz"],
                              capture_output=True, text=True, check=False)

    assert '"ready"' in curl().stdout
    assert "HTTP/1.1 200" in curl("-i", "--http2").stdout
    assert '"ready"' in curl("--tls-max", "1.2").stdout
    assert curl("--tls-max", "1.1").returncode != 0
    assert '"ready"' in curl("-H", f"X-Large: {LARGE[:12000]}").stdout
    assert "405" in curl("-i", "-X", "DELETE", "-d", LARGE).stdout


def test_what_is_no_tls_is_closed(secure):
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x40\x00" + b"x" * 20000,
                 b"\x80\x2e\x01", os.urandom(500)):
        with socket.create_connection(address_of(secure), timeout=PATIENCE) as connection:
            try:
                connection.sendall(text)
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65536):
                    assert not data.startswith(b"HTTP/")
            except OSError:
                pass
    assert secure.gateways[0].get("/healthz")[0] == 200


def test_who_begins_and_says_no_more_is_closed(secure):
    with socket.create_connection(address_of(secure), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert connection.recv(1) == b"", "closed within ten seconds"
    with socket.create_connection(address_of(secure), timeout=20) as connection:
        assert connection.recv(1) == b""


def test_the_certificate_changes_without_a_restart(secure, authority, files):
    alice, = secure.users("alice")
    client = secure.connect(alice, ssl=authority.context())
    before = name_shown(secure, authority)
    issue(authority, files, "second", kind="rsa")
    wait_until(lambda: name_shown(secure, authority) == "second", "the new one is shown")
    assert before != "second"
    client.ping()
    issue(authority, files, "third")
    secure.gateways[0].reload()
    wait_until(lambda: name_shown(secure, authority) == "third", "on SIGHUP as well")
    with open(files["gateway_tls_key"], "w", encoding="ascii") as file:
        file.write("garbage")
    secure.gateways[0].reload()
    wait_until(lambda: "the certificate stays as it was" in secure.gateways[0].log(), "it says so")
    assert name_shown(secure, authority) == "third"
    issue(authority, files, "fourth")
    wait_until(lambda: name_shown(secure, authority) == "fourth", "it is used when it is whole")
    client.ping()


def numbers(client):
    return [data["payload"]["n"] for data in client.of_type("DirectMessage")]


def connect_and_read_no_more(stack, authority, user, gateway):
    """A connection whose program reads its welcome, and nothing behind it."""
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tcp.connect(address_of(stack, gateway))
    tls = authority.context().wrap_socket(tcp, server_hostname="localhost")
    tls.sendall(f"GET /ws?token={stack.token(user)} HTTP/1.1\r\nHost: localhost\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
    seen = b""
    while b"connection_id" not in seen:
        seen += tls.recv(1000)
    return tls


@pytest.mark.parametrize("end", ["reset", "silence"])
def test_what_a_killed_client_has_not_read_comes_again(secure, authority, end):
    """What waits in the gateway, in the relay and in its socket was not taken by the client."""
    alice, bob = secure.users("alice", "bob")
    sender = secure.connect(alice)
    deaf = connect_and_read_no_more(secure, authority, bob, gateway=1)
    count = 40
    wait_until(lambda: sender.direct(bob, {"n": 0, "text": LARGE})["type"] == "Ack", "he is there")
    for n in range(1, count):
        answer = sender.direct(bob, {"n": n, "text": LARGE})
        assert answer["type"] == "Ack" or answer["data"]["details"]["queued"], answer
    if end == "reset":
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deaf.close()
    again = secure.connect(bob, ssl=authority.context())
    wait_until(lambda: numbers(again) and numbers(again)[-1] == count - 1, "the rest has come")
    came = numbers(again)
    assert [n for n in came if n > 0] == list(range(1, count)), \
        "hardly one fits into the client's kernel, and none was read"
    deaf.close()


def test_slow_consumers_lose_nothing(module_stack, files, authority):
    stack = module_stack(auth=False, stall_ms=1000, **files)
    slow = stack.connect("bob", gateway=1, ssl=authority.context(), reading=False,
                         receive_buffer=4096)
    sender = stack.connect("alice")
    for n in range(300):
        sender.direct("bob", {"n": n, "text": LARGE})
    name = stack.gateways[1].name
    wait_until(lambda: stack.redis.command("HGET", f"trunkline:process:{name}",
                                           "slow_consumers") == "1", "he is closed")
    slow.read()
    assert slow.await_close() in (4008, 1006)
    seen = numbers(slow)
    assert seen == list(range(len(seen)))
    again = stack.connect("bob", ssl=authority.context())
    wait_until(lambda: set(numbers(slow) + numbers(again)) == set(range(300)), "all has come")
    assert numbers(again) == sorted(set(numbers(again)))


def test_clients_come_and_go_under_traffic(secure, authority):
    """Random ends of TLS connections: everything accepted arrives, nothing twice on one connection."""
    choice = random.Random(7)
    senders = [secure.connect(user, ssl=authority.context())
               for user in secure.users("sender", "sender")]
    users = secure.users(*["receiver"] * 4)
    connections = {user: [secure.connect(user, gateway=1, ssl=authority.context())]
                   for user in users}
    traffic = Traffic(senders, users)
    for _ in range(12):
        traffic.await_more(60)
        user = choice.choice(users)
        old = connections[user][-1]
        if choice.random() < 0.5:
            old.break_off()
        else:
            old.close()
        connections[user].append(secure.connect(user, gateway=choice.randrange(2),
                                                ssl=authority.context()))
    traffic.finish()
    for user in users:
        traffic.check(user, connections[user])


def test_a_gateway_that_stops_says_so(module_stack, files, authority):
    stack = module_stack(auth=False, gateways=1, **files)
    client = stack.connect("alice", ssl=authority.context())
    stack.gateways[0].stop()
    assert client.await_close() == 1012


def test_connections_are_counted_and_let_go(secure, authority):
    def open_connections():
        _, text = secure.gateways[0].get("/metrics")
        line, = [line for line in text.splitlines()
                 if "tls_connections" in line and not line.startswith("#")]
        return int(float(line.split()[-1]))

    secure.abandon_clients()
    wait_until(lambda: open_connections() == 0, "all are gone")
    clients = [secure.connect(user, ssl=authority.context()) for user in secure.users(*["u"] * 5)]
    assert open_connections() == 5
    for index, client in enumerate(clients):
        (client.close if index % 2 else client.abandon)()
    wait_until(lambda: open_connections() == 0, "they are let go")
    assert isinstance(authority.context(), ssl.SSLContext)
