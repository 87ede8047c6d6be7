"""TRUNKLINE_PROXY_PROTOCOL: a header of the PROXY protocol is required, and its address counts."""

import shutil
import socket
import ssl
import struct
import subprocess

import pytest

from authority import Authority
from harness import Process, free_port, http, http_through_proxy
from waiting import PATIENCE, wait_until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(source, family=socket.AF_INET, command=0x21):
    size = 4 if family == socket.AF_INET else 16
    block = socket.inet_pton(family, source) + bytes(size) + struct.pack(">HH", 4660, 80)
    kind = 0x11 if family == socket.AF_INET else 0x21
    return SIGNATURE + bytes([command, kind]) + struct.pack(">H", len(block)) + block


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    files = {"gateway_tls_certificate": str(directory / "cert.pem"),
             "gateway_tls_key": str(directory / "key.pem")}
    authority.issue("gateway", files["gateway_tls_certificate"], files["gateway_tls_key"])
    return files


@pytest.fixture(scope="module")
def proxied(module_stack, files):
    return module_stack(auth=False, gateways=1, proxy_protocol="on", log="text:debug", **files)


def is_logged(stack, address):
    """A refused upgrade shows in the log whose it was."""
    return f"upgrade of /ws from {address} refused" in stack.gateways[0].log()


@pytest.mark.parametrize("header, address", [
    (b"PROXY TCP4 198.51.100.1 192.0.2.1 4660 80\r\n", "198.51.100.1"),
    (b"PROXY TCP6 2001:db8::1 ::1 4660 80\r\n", "2001:db8::1"),
    (version_2("198.51.100.2"), "198.51.100.2"),
    (version_2("2001:db8::2", socket.AF_INET6), "2001:db8::2"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (version_2("198.51.100.3", command=0x20), "127.0.0.1"),
])
def test_the_address_of_the_header_counts(proxied, header, address):
    status, text = http_through_proxy(proxied.gateways[0].address, "/healthz", header)
    assert status == 200, text
    status, text = http_through_proxy(proxied.gateways[0].address, "/ws", header)
    assert status == 426, text
    wait_until(lambda: is_logged(proxied, address), "the log names it")


def test_metrics_have_a_port_of_their_own(new_stack):
    port = free_port()
    stack = new_stack(auth=False, gateways=1, proxy_protocol="on",
                      gateway_metrics_listen=f"127.0.0.1:{port}")
    status, text = http("GET", f"http://127.0.0.1:{port}/metrics")
    assert status == 200 and "tls_connections" in text
    assert http("GET", f"http://127.0.0.1:{port}/healthz")[0] == 200
    assert http("GET", f"http://{stack.gateways[0].address}/metrics")[0] == 0


def test_forwarded_headers_count_no_more(proxied):
    address = proxied.gateways[0].address
    header = b"PROXY TCP4 10.0.0.9 192.0.2.1 4660 80\r\n"
    http_through_proxy(address, "/ws HTTP/1.1\r\nX-Forwarded-For: 203.0.113.66\r\nX: y", header)
    wait_until(lambda: is_logged(proxied, "10.0.0.9"), "the log names it")
    assert not is_logged(proxied, "203.0.113.66")


@pytest.mark.parametrize("header", [
    b"", b"\r\n", b"PROXY\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"PROXY " + b"x" * 200,
    SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), SIGNATURE + b"\x21\x11\xff\xff" + bytes(2000)])
def test_without_a_right_header_it_is_closed(proxied, header):
    status, text = http_through_proxy(proxied.gateways[0].address, "/healthz", header)
    assert (status, text) == (0, "")


def test_a_header_that_does_not_end_is_not_waited_for(new_stack):
    stack = new_stack(auth=False, gateways=1, proxy_protocol="on", head_timeout_ms=1000)
    host, port = stack.gateways[0].address.split(":")
    for begin in (b"", b"PRO", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c"):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(begin)
            assert connection.recv(1) == b""


def test_in_front_of_tls(proxied, authority):
    host, port = proxied.gateways[0].tls_address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as tcp:
        tcp.sendall(version_2("198.51.100.77"))
        with authority.context().wrap_socket(tcp, server_hostname="localhost") as tls:
            tls.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(1000).startswith(b"HTTP/1.1 426")
    wait_until(lambda: is_logged(proxied, "198.51.100.77"), "the log names it")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as tcp:
        with pytest.raises((ssl.SSLError, OSError)):
            authority.context().wrap_socket(tcp, server_hostname="localhost")


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy here")
def test_wss_by_haproxy(proxied, authority, files, tmp_path):
    """As deploy/README.md has it: TLS ends at haproxy, which says whose a connection is."""
    front = f"localhost:{free_port()}"
    both = tmp_path / "both.pem"
    both.write_text("".join(open(files[name], encoding="ascii").read() for name in files))
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(f"""
defaults
    mode http
    option forwardfor
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend clients
    bind {front.replace("localhost", "127.0.0.1")} ssl crt {both} alpn http/1.1
    default_backend gateways
backend gateways
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
    server gateway-1 {proxied.gateways[0].address} send-proxy-v2 check check-send-proxy inter 200
""", encoding="ascii")
    haproxy = Process("haproxy", [shutil.which("haproxy"), "-db", "-f", str(configuration)],
                      proxied.directory)
    haproxy.start()
    try:
        def is_up():
            return subprocess.run(["curl", "-sf", "-m", "5", "--cacert", authority.certificate,
                                   f"https://{front}/readyz"], capture_output=True,
                                  check=False).returncode == 0

        wait_until(is_up, "haproxy lets through")
        proxied.gateways[0].tls_address, inner = front, proxied.gateways[0].tls_address
        try:
            alice, bob = proxied.users("alice", "bob")
            sender = proxied.connect(alice, ssl=authority.context())
            receiver = proxied.connect(bob, ssl=authority.context())
        finally:
            proxied.gateways[0].tls_address = inner
        assert receiver.connection_id in sender.direct(bob, "hello")["data"]["delivered_to"]
        assert receiver.take("DirectMessage")["payload"] == "hello"
    finally:
        haproxy.kill()
