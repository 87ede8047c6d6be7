"""Wrong passwords and floods are answered 429 with the time to wait; a crowd is answered 503."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from auth_alone import PASSWORD, auth_alone


@pytest.fixture(scope="module")
def limited():
    with auth_alone(rate_limits="on") as alone:
        yield alone


def refused(answers):
    codes = [answer["error"] for status, answer in answers if status == 429]
    for error in codes:
        assert error["code"] == "rate_limited"
        assert 0 < error["retry_after_ms"] <= 5000
    return len(codes)


def test_wrong_passwords_of_a_user(limited):
    for name in ("alice", "bob"):
        limited.auth.register(name)
    answers = [limited.auth.post("/login", {"username": "alice", "password": "a wrong one"})
               for _ in range(15)]
    assert refused(answers) in (3, 4, 5)
    limited.auth.guess_in_vain("alice")
    assert limited.login("alice")[0] == 429, "the right one waits, too"
    assert limited.login("bob")[0] == 200


def test_right_passwords_do_not_count(limited):
    limited.auth.register("carol")
    assert [limited.login("carol")[0] for _ in range(15)] == [200] * 15


def test_a_flood_from_one_address(limited):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: limited.auth.post("/refresh", {}), range(400)))
    assert refused(answers) > 100
    assert limited.auth.get("/healthz")[0] == 200


def test_a_crowd_is_told_to_come_back():
    with auth_alone() as alone:
        def register(n):
            return alone.auth.post("/register", {"username": f"user{n}", "password": PASSWORD})

        with ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(register, range(200)))
        statuses = [status for status, _ in answers]
        assert set(statuses) <= {201, 503}
        assert statuses.count(201) >= 64
        assert register(1000)[0] == 201
