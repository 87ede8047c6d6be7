"""A missing, malformed, expired, forged or revoked token is a 401 on the upgrade."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from client import Client, Refused
from harness import base64url, sign_token
from waiting import wait_until


def status_with(stack, token, gateway=0):
    """The status of an upgrade with this token; 101 when it is accepted."""
    try:
        Client(stack.url(gateway, token=token)).close()
    except Refused as refusal:
        return refusal.status
    return 101


def parts_of(token):
    """Header, claims and signature."""
    header, claims, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
               for part in (header, claims)]
    return (*decoded, signature)


def join(header, claims, signature):
    return ".".join([*(base64url(json.dumps(part).encode()) for part in (header, claims)),
                     signature])


def test_a_good_one_is_accepted(stack):
    assert status_with(stack, stack.token(stack.users("alice")[0])) == 101


def test_no_token(stack):
    with pytest.raises(Refused) as refusal:
        Client(stack.url())
    assert refusal.value.status == 401


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "..", "eyJhbGciOiJSUzI1NiJ9..", "%00",
                                   "x" * 6000])
def test_malformed(stack, token):
    assert status_with(stack, token) == 401


def test_forged(stack):
    alice, bob = stack.users("alice", "bob")
    header, claims, signature = parts_of(stack.token(alice))
    assert status_with(stack, join(header, {**claims, "sub": bob}, signature)) == 401
    flipped = ("A" if signature[10] != "A" else "B").join([signature[:10], signature[11:]])
    assert status_with(stack, join(header, claims, flipped)) == 401
    assert status_with(stack, join(header, claims, "")) == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signed", ["unsigned", "signed"])
def test_alg_none(stack, algorithm, signed):
    header, claims, signature = parts_of(stack.token(stack.users("alice")[0]))
    signature = signature if signed == "signed" else ""
    assert status_with(stack, join({**header, "alg": algorithm}, claims, signature)) == 401
    assert status_with(stack, join({"alg": algorithm}, claims, signature)) == 401


@pytest.mark.parametrize("algorithm", ["HS256", "RS512", "ES256", "PS256", "", 1, None])
def test_algorithm_of_the_token_is_not_believed(stack, algorithm):
    header, claims, signature = parts_of(stack.token(stack.users("alice")[0]))
    for signed in (signature, ""):
        assert status_with(stack, join({**header, "alg": algorithm}, claims, signed)) == 401


def test_hs256_made_with_the_rsa_public_key(stack):
    """The oldest attack: HS256 with the public key, which everybody has, as its secret."""
    header, claims, _ = parts_of(stack.token(stack.users("alice")[0]))
    published = stack.redis.command("HGETALL", "trunkline:auth:keys")
    _, jwks = stack.auth.get("/.well-known/jwks.json")
    secrets = [json.dumps(jwks), json.dumps(jwks, separators=(",", ":"))]
    for key in jwks["keys"]:
        secrets += [json.dumps(key), key["n"], key["kid"]]
    for pem in published.values():
        secrets += [pem, pem.rstrip("\n"), "".join(pem.splitlines()[1:-1]),
                    base64.b64decode("".join(pem.splitlines()[1:-1]))]
    assert len(secrets) >= 9
    for secret in secrets:
        secret = secret if isinstance(secret, bytes) else secret.encode()
        for kid in (header["kid"], None):
            forged = {"alg": "HS256", "typ": "JWT", **({"kid": kid} if kid else {})}
            text = join(forged, claims, "")
            digest = hmac.new(secret, text[:-1].encode(), hashlib.sha256).digest()
            assert status_with(stack, text + base64url(digest)) == 401


@pytest.mark.parametrize("kid", ["unknown", "", "../../dev/null", "x" * 2000, 7, None])
def test_unknown_kid(stack, kid):
    """Signed by somebody, or even by auth itself: the name of the key decides."""
    header, claims, signature = parts_of(stack.token(stack.users("alice")[0]))
    assert status_with(stack, join({**header, "kid": kid}, claims, signature)) == 401
    del header["kid"]
    assert status_with(stack, join(header, claims, signature)) == 401


def test_expired_a_second_ago(signing_stack):
    now = int(time.time())
    assert status_with(signing_stack, sign_token(signing_stack.secret, sub="alice",
                                                 exp=now - 1)) == 401
    assert status_with(signing_stack, sign_token(signing_stack.secret, sub="alice",
                                                 exp=now + 30)) == 101


def test_nbf_in_the_future(signing_stack):
    now = int(time.time())
    for before, status in ((now + 900, 401), (now + 60, 401), (now + 5, 101), (now - 5, 101)):
        token = sign_token(signing_stack.secret, sub="alice", nbf=before)
        assert status_with(signing_stack, token) == status, "30 s of difference of clocks are fine"


def test_issued_in_the_future(signing_stack):
    now = int(time.time())
    assert status_with(signing_stack, sign_token(signing_stack.secret, sub="alice", iat=now + 900,
                                                 exp=now + 999)) == 401


@pytest.mark.parametrize("claims, status", [
    ({"aud": "chat", "iss": "us"}, 101), ({"aud": ["other", "chat"], "iss": "us"}, 101),
    ({"aud": "other", "iss": "us"}, 401), ({"aud": ["other"], "iss": "us"}, 401),
    ({"aud": [], "iss": "us"}, 401), ({"aud": {"chat": 1}, "iss": "us"}, 401),
    ({"aud": None, "iss": "us"}, 401), ({"aud": "CHAT", "iss": "us"}, 401),
    ({"aud": "chat", "iss": "them"}, 401), ({"aud": "chat", "iss": None}, 401),
    ({"aud": "chat", "iss": ["us"]}, 401)])
def test_wrong_audience_or_issuer(strict_stack, claims, status):
    token = sign_token(strict_stack.secret, sub="alice", **claims)
    assert status_with(strict_stack, token) == status


def test_expired(stack):
    alice, = stack.users("alice")
    stack.auth.register(alice)
    token = stack.auth.login(alice, ttl=1)["token"]
    wait_until(lambda: status_with(stack, token) == 401, "the token has expired")


def test_revoked(stack):
    alice, = stack.users("alice")
    stack.auth.register(alice)
    login = stack.auth.login(alice)
    stack.auth.logout(login)
    wait_until(lambda: status_with(stack, login["token"]) == 401
               and status_with(stack, login["token"], gateway=1) == 401, "both gateways know")
    assert status_with(stack, stack.auth.login(alice)["token"]) == 101


@pytest.mark.parametrize("claims", [{"sub": None}, {"sub": ""}, {"sub": "x" * 129}, {"exp": None},
                                    {"exp": "soon"}, {"exp": 1}, {"sub": "SERVER"}, {"sub": "*"},
                                    {"sub": "group:x"}, {"sub": "a\nb"}])
def test_claims_that_do_not_do(signing_stack, claims):
    good = {"sub": "alice"}
    assert status_with(signing_stack, sign_token(signing_stack.secret, **good)) == 101
    bad = {**good, **claims}
    assert status_with(signing_stack, sign_token(signing_stack.secret, **bad)) == 401


@pytest.fixture(scope="module")
def signing_stack(module_stack):
    return module_stack(auth=False, gateways=1)


@pytest.fixture(scope="module")
def strict_stack(module_stack):
    return module_stack(auth=False, gateways=1, token_audience="chat", token_issuer="us")
