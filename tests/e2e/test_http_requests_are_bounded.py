"""The API's requests: keys and scopes, methods, media types, lengths and slowness, each answered."""

import socket
import time

import pytest

from api import KEYS, SECRETS, Api, read_answer
from harness import http, sign_token
from waiting import PATIENCE

BODY = b'{"topic":"a","message":"m"}'


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False, gateways=1, api_keys=KEYS)


@pytest.mark.parametrize("key", [None, "", "wrong", SECRETS["admin"] + "x", SECRETS["admin"][:-1]])
def test_without_a_key_it_is_401(here, key):
    assert Api(here, key=key).post("publish", {"topic": "a", "message": "m"})[0] == 401
    assert Api(here, key=key).get("info")[0] == 401


@pytest.mark.parametrize("path, body, scope", [
    ("publish", {"topic": "a", "message": "m"}, "publish"),
    ("notify", {"topic": "a", "message": "m"}, "notify"),
    ("presence/bob", None, "read"), ("info", None, "read"),
    ("disconnect", {"user": "nobody"}, "admin"), ("revoke", {"token_id": "none"}, "admin")])
def test_a_key_may_do_what_its_scopes_say(here, path, body, scope):
    for other, secret in SECRETS.items():
        api = Api(here, key=secret)
        status = api.post(path, body)[0] if body else api.get(path)[0]
        assert status == (200 if other in (scope, "admin") else 403), other


def test_an_admins_token_is_a_key(here):
    admin, mallory = (sign_token(here.secret, sub=name, admin=admin)
                      for name, admin in (("admin-1", True), ("mallory", None)))
    assert Api(here, key=admin).get("info")[0] == 200
    assert Api(here, key=mallory).get("info")[0] == 403


def test_keys_come_from_a_file_too(new_stack, tmp_path):
    path = tmp_path / "keys"
    path.write_text("# of the shop\nshop:publish,read:0123456789abcdef # rotated in May\n")
    stack = new_stack(auth=False, gateways=1, api_keys_file=path)
    api = Api(stack, key="0123456789abcdef")
    assert api.get("info")[0] == 200
    assert api.post("publish", {"topic": "a", "message": "m"})[0] == 200
    assert api.post("notify", {"topic": "a", "message": "m"})[0] == 403


@pytest.mark.parametrize("method, path, status", [
    ("GET", "publish", 405), ("POST", "info", 405), ("DELETE", "presence/bob", 405),
    ("GET", "nothing", 404), ("GET", "presence/", 404), ("GET", "", 404)])
def test_unknown_paths_and_methods(here, method, path, status):
    url = f"http://{here.gateways[0].address}/api/v1/{path}"
    assert http(method, url, headers=Api(here).headers)[0] == status


@pytest.mark.parametrize("headers, status", [
    ({}, 200), ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ({"Content-Type": "text/plain"}, 415), ({"Content-Type": None}, 415),
    ({"Content-Type": "application/jsonx"}, 415), ({"Content-Length": None}, 411),
    ({"Transfer-Encoding": "chunked"}, 400),
    ({"Content-Length": None, "Transfer-Encoding": "gzip, chunked"}, 501),
    ({"Content-Length": 27, "content-length": 27}, 400), ({"Content-Length": "-1"}, 400),
    ({"Content-Length": "+27"}, 400), ({"Content-Length": 2**20 + 1}, 413),
    ({"Content-Length": 10**30}, 400), ({"Content-Length": 0}, 400)])
def test_headers_of_a_body(here, headers, status):
    api = Api(here)
    assert api.raw(api.head("publish", BODY, **headers) + BODY)[0] == status


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"nonsense", b'{"topic":"a","topic":"a"}',
                                  b'{"topic":"\xff","message":"m"}', b"[" * 10000])
def test_a_body_that_is_no_object(here, body):
    api = Api(here)
    assert api.raw(api.head("publish", body) + body)[0] == 400


def test_a_body_of_a_mebibyte(here):
    api = Api(here)
    body = b'{"topic":"a","message":"%s"}' % (b"x" * (2**20 - len(BODY) + 1))
    assert len(body) == 2**20
    assert api.raw(api.head("publish", body) + body)[0] == 200


def test_a_body_in_pieces(here):
    api = Api(here)
    with socket.create_connection(api.address.split(":"), timeout=PATIENCE) as connection:
        for byte in api.head("publish", BODY) + BODY:
            connection.sendall(bytes([byte]))
        assert read_answer(connection)[0] == 200


def test_who_asks_first_is_told_to_go_on(here):
    api = Api(here)
    with socket.create_connection(api.address.split(":"), timeout=PATIENCE) as connection:
        connection.sendall(api.head("publish", BODY, Expect="100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert read_answer(connection)[0] == 200


def test_a_slow_body_is_408(new_stack):
    api = Api(new_stack(auth=False, gateways=1, api_keys=KEYS, head_timeout_ms=1000))
    began = time.monotonic()
    assert api.raw(api.head("publish", BODY) + BODY[:-1])[0] == 408
    assert time.monotonic() - began < PATIENCE


def test_without_a_key_no_body_is_waited_for(here):
    api = Api(here, key="wrong")
    assert api.raw(api.head("publish", BODY, **{"Content-Length": 2**20}))[0] == 401


def test_it_is_504_when_nobody_answers(new_stack):
    stack = new_stack(auth=False, gateways=1, api_keys=KEYS)
    stack.router.kill()
    status, answer = Api(stack).post("publish", {"user": "bob", "message": "m"})
    assert status == 504, answer


def test_secrets_are_in_no_log(here):
    for secret in SECRETS.values():
        assert secret not in here.gateways[0].log()
