"""Redis and auth without the rest: for scenarios about accounts and tokens."""

import base64
import json
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

from harness import DEFECTS, PASSWORD, Auth, Redis, http
from waiting import wait_until


class AuthAlone:
    def __init__(self, **settings):
        self.directory = tempfile.mkdtemp(prefix="trunkline-e2e-")
        self.redis = Redis(self.directory)
        self.settings = {f"TRUNKLINE_{name.upper()}": str(value)
                         for name, value in {"rate_limits": "off", **settings}.items()}
        self.auth = Auth(self.directory, {**self.settings, "TRUNKLINE_REDIS": self.redis.url})

    def start(self):
        self.redis.start()
        wait_until(self.redis.is_ready, "Redis answers")
        self.start_auth()

    def start_auth(self):
        self.auth.start()
        wait_until(lambda: self.auth.is_ready() or not self.auth.is_alive(), "auth is ready")
        self.check()

    def check(self):
        log = self.auth.log()
        assert self.auth.is_alive() and not DEFECTS.search(log), log[-8000:]

    def close(self):
        try:
            self.check()
            self.auth.stop()
            assert not DEFECTS.search(self.auth.log()), self.auth.log()[-8000:]
        finally:
            self.redis.kill()
            shutil.rmtree(self.directory)

    def login(self, user, **fields):
        return self.auth.post("/login", {"username": user, "password": PASSWORD, **fields})

    def post_text(self, path, text):
        """The answer to a body that is not JSON, perhaps."""
        reply = subprocess.run(
            ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", "--data-binary", "@-",
             self.auth.url + path], input=text, capture_output=True, check=True)
        body, status = reply.stdout.rsplit(b"\n", 1)
        return int(status), json.loads(body) if body else None

    def events(self, kind):
        """The fields of auth's events of a kind."""
        entries = self.redis.command("XRANGE", "trunkline:auth:events", "-", "+")
        found = [dict(zip(fields[::2], fields[1::2])) for _, fields in entries]
        return [fields for fields in found if fields["kind"] == kind]

    def revoked(self):
        """The ids of revoked tokens that gateways which start later will know."""
        members = self.redis.command("ZRANGE", "trunkline:auth:revoked", 0, -1)
        return {member.split(" ", 1)[0] for member in members}


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@contextmanager
def auth_alone(**settings):
    alone = AuthAlone(**settings)
    alone.start()
    try:
        yield alone
    finally:
        alone.close()


__all__ = ["PASSWORD", "AuthAlone", "auth_alone", "claims_of", "http"]
