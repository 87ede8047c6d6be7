"""An upgrade that announces a body is refused: proxies and the gateway would disagree on what it is."""

import socket

import pytest

from waiting import PATIENCE

UPGRADE = ("GET /ws?token={token} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n")


def status_of(stack, header):
    host, port = stack.gateways[0].address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        token = stack.token(stack.users("alice")[0])
        connection.sendall(UPGRADE.format(token=token, header=header).encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("header, status", [
    ("", 101),
    ("Content-Length: 0\r\n", 101),
    ("Content-Length: 5\r\n", 400),
    ("Content-Length: 00\r\n", 400),
    ("Transfer-Encoding: chunked\r\n", 400),
])
def test_status(stack, header, status):
    assert status_of(stack, header) == status
