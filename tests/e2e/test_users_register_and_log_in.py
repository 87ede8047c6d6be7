"""Registering once, logging in with the right password only, guests; bad input is a clear 4xx."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from auth_alone import PASSWORD, auth_alone, claims_of, http


@pytest.fixture(scope="module")
def alone():
    with auth_alone(admins="root,ops", token_issuer="us", token_audience="chat") as alone:
        yield alone


def test_a_login_gives_a_token_of_the_user(alone):
    name = "Zoë |:%{} 🙂"
    assert alone.auth.post("/register", {"username": name, "password": PASSWORD}) == (
        201, {"user": name})
    status, answer = alone.login(name)
    claims = claims_of(answer["token"])
    assert status == 200
    assert answer["user"] == name == claims["sub"]
    assert (claims["iss"], claims["aud"]) == ("us", "chat")
    assert claims["exp"] == answer["expires_at"] == claims["iat"] + 3600
    assert abs(claims["iat"] - time.time()) < 60
    assert "admin" not in claims
    assert len({claims["jti"], claims_of(alone.login(name)[1]["token"])["jti"]}) == 2


def test_ttl_shortens_a_token(alone):
    alone.auth.register("short")
    _, answer = alone.login("short", ttl=5)
    claims = claims_of(answer["token"])
    assert claims["exp"] - claims["iat"] == 5
    for ttl in (0, -1, 3601, 1.5, "5", None, True, [5]):
        status, answer = alone.login("short", ttl=ttl)
        assert (status, answer["error"]["code"]) == (400, "invalid_ttl"), ttl


def test_admins_are_named_by_a_setting(alone):
    for name, expected in (("root", True), ("ops", True), ("oops", None), ("root,ops", None)):
        alone.auth.register(name)
        assert claims_of(alone.login(name)[1]["token"]).get("admin") is expected


def test_a_wrong_password_and_an_unknown_user_look_alike(alone):
    alone.auth.register("eve")
    answers = [alone.auth.post("/login", {"username": name, "password": password})
               for name in ("eve", "nobody") for password in ("wrong password", "", "x" * 5000)]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 401


def test_of_many_that_register_a_name_one_has_it(alone):
    def register(n):
        return alone.auth.post("/register", {"username": "mine", "password": f"password{n}"})[0]

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(register, range(12)))
    assert sorted(statuses) == [201] + [409] * 11
    winner = statuses.index(201)
    for n in range(12):
        status, _ = alone.auth.post("/login", {"username": "mine", "password": f"password{n}"})
        assert status == (200 if n == winner else 401)


def test_a_password_is_not_in_redis(alone):
    alone.auth.register("hidden")
    account = alone.redis.command("HGETALL", "trunkline:auth:account:hidden")
    assert account["password"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in json.dumps(account)
    assert abs(int(account["created"]) - time.time()) < 60


def test_guests_get_a_name(alone):
    answers = [http("POST", alone.auth.url + "/guest") for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200]
    names = {answer["user"] for _, answer in answers}
    assert len(names) == 2
    assert all(name.startswith("guest:") for name in names)
    assert claims_of(answers[0][1]["token"])["sub"] == answers[0][1]["user"]
    assert "refresh_token" not in answers[0][1]


@pytest.mark.parametrize("username", ["", "SERVER", "BROADCAST", "*", "group:x", "guest:x", "a\nb",
                                      "a\0b", "x" * 129, "ü" * 65])
def test_names_that_nobody_may_have(alone, username):
    status, answer = alone.auth.post("/register", {"username": username, "password": PASSWORD})
    assert (status, answer["error"]["code"]) == (400, "invalid_username")
    assert alone.login(username)[0] == 401


@pytest.mark.parametrize("path", ["/register", "/login", "/refresh", "/logout", "/guest"])
@pytest.mark.parametrize("body", [
    b"x", b"[]", b"null", b"7", b'"x"', b"{", b"[" * 10000, b'{"a":1,"a":2}', b"\xff\xfe",
    b'{"username":"a\xff","password":"password1"}', b'{"x":' * 200 + b"1" + b"}" * 200])
def test_what_is_no_object_is_malformed(alone, path, body):
    status, answer = alone.post_text(path, body)
    if path == "/guest":
        return  # it has no body to read
    assert (status, answer["error"]["code"]) == (400, "malformed")


@pytest.mark.parametrize("body", [
    {}, {"username": "a"}, {"password": PASSWORD}, {"username": 7, "password": PASSWORD},
    {"username": None, "password": PASSWORD}, {"username": ["a"], "password": PASSWORD},
    {"username": "a", "password": 12345678}, {"username": "a", "password": {}}])
def test_fields_of_the_wrong_type(alone, body):
    for path in ("/register", "/login"):
        status, answer = alone.auth.post(path, body)
        assert (status, answer["error"]["code"]) == (400, "invalid_field")


def test_bodies_and_passwords_have_limits(alone):
    for length, expected in ((7, 400), (8, 201), (1024, 201), (1025, 400)):
        assert alone.auth.post("/register", {"username": f"limit{length}",
                                             "password": "x" * length})[0] == expected
    for length in (16385, 200000, 3000000):
        assert alone.post_text("/register", b" " * length)[0] == 413
    assert alone.post_text("/register", b" " * 16384)[0] == 400


def test_browsers_of_any_origin_may_ask(alone):
    status, _ = http("OPTIONS", alone.auth.url + "/login")
    assert status == 204
    for method, path, expected in (("GET", "/login", 405), ("POST", "/healthz", 405),
                                   ("DELETE", "/register", 405), ("GET", "/nothing", 404),
                                   ("HEAD", "/healthz", 200), ("GET", "/healthz?x=1", 200)):
        assert http(method, alone.auth.url + path)[0] == expected, (method, path)
