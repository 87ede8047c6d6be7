"""
The processes of a deployment, real ones: a private Redis, auth, routers and gateways on free
ports of this machine. A Stack is a whole deployment; scenarios talk to it through Client.
"""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from client import Client
from waiting import BUILD, PATIENCE, SLOWNESS, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STOP_WITHIN = 10 * SLOWNESS  # seconds
DEFECTS = re.compile(
    r"ERROR: \w*Sanitizer|runtime error:|Assertion .* failed|detected memory leaks")
PASSWORD = "correct horse battery"
# Of each protocol: its path, and what its URL says of the user beside the token.
ENDPOINTS = {
    "realtime": ("/ws", lambda user: {}),
    "messaging": ("/messaging", lambda user: {"client_id": user}),
    "chat": ("/chat", lambda user: {}),
    "simple": ("/simple", lambda user: {}),
    "callie": ("/callie", lambda user: {}),
    "telegram": ("/telegram", lambda user: {}),  # tests/sixth
}

_numbers = itertools.count(2)  # router-1 is the stack's own
_ports = set()  # given out, perhaps not yet listened on


def free_port():
    """
    Below the range that the kernel takes for outgoing connections; never the same twice: who asked
    for one may begin to listen much later.
    """
    while True:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _ports:
            _ports.add(port)
            return port


def http(method, url, body=None, headers=None):
    """Returns the status and the body, as JSON when it is."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        status, text = refusal.code, refusal.read().decode()
    except OSError:
        return 0, ""
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def http_through_proxy(address, path, header=b"PROXY UNKNOWN\r\n"):
    """The status (0: closed without one) and the head of the answer to a GET behind this header."""
    host, port = address.split(":")
    answer = b""
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            connection.sendall(header + head.encode())
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:
        pass
    text = answer.decode()
    return (int(text.split(" ", 2)[1]) if text.startswith("HTTP/1.1 ") else 0), text


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_token(secret, **claims):
    """A token as auth makes them with TRUNKLINE_TOKEN_SECRET_FILE; a claim of None is absent."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + 3600, "jti": f"t{next(_numbers)}", **claims}
    claims = {name: value for name, value in claims.items() if value is not None}
    signed = ".".join(base64url(json.dumps(part).encode())
                      for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(digest)}"


class Process:
    """One process with its log; ends with the tests whatever happens."""

    def __init__(self, name, command, directory, environment=None):
        self.name = name
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self._environment = {name: value for name, value in os.environ.items()
                             if not name.startswith("TRUNKLINE_")}
        self._environment.update(environment or {})
        self._log_path = os.path.join(directory, f"{name}.log")
        self._process = None
        self.expected_alive = False
        open(self._log_path, "ab").close()

    def start(self):
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)
        self.expected_alive = True

    def kill(self):
        """kill -9"""
        self.expected_alive = False
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def paused(self):
        """It is there, and does nothing."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self):
        """SIGTERM; must exit with 0 in time."""
        self.terminate()
        self.await_exit()

    def terminate(self):
        """SIGTERM, as soon as the process is one that has a handler for it."""
        wait_until(lambda: self._process.poll() is not None or self._handles(signal.SIGTERM),
                   f"{self.name} handles SIGTERM")
        self.expected_alive = False
        self._process.send_signal(signal.SIGTERM)

    def _handles(self, number):
        with open(f"/proc/{self._process.pid}/status", encoding="ascii") as status:
            caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
        return int(caught, 16) >> (number - 1) & 1

    def await_exit(self, expected=0):
        try:
            status = self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {STOP_WITHIN:g} s") from None
        assert status == expected, f"{self.name} ended with {status}:\n{self.log()[-4000:]}"

    def is_alive(self):
        return self._process is not None and self._process.poll() is None

    def log(self):
        with open(self._log_path, encoding="utf-8", errors="replace") as log:
            return log.read()


class Redis(Process):
    """A private Redis as Trunkline uses it: append-only, in a directory of its own."""

    def __init__(self, directory):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        super().__init__("redis", [
            "redis-server", "deploy/redis.conf", "--bind", "127.0.0.1", "--port", str(self.port),
            "--dir", directory, "--daemonize", "no"], directory)

    def command(self, *words):
        """The reply of a command, through redis-cli."""
        reply = subprocess.run(
            ["redis-cli", "-p", str(self.port), "--json", *map(str, words)],
            capture_output=True, check=True, timeout=PATIENCE)
        return json.loads(reply.stdout.decode("utf-8", errors="replace"))

    def is_ready(self):
        reply = subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True,
                               timeout=PATIENCE, check=False)
        return reply.stdout == b"PONG\n"


class Auth(Process):
    def __init__(self, directory, environment):
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        super().__init__("auth", [f"{BUILD}/auth"], directory, {
            **environment, "TRUNKLINE_NAME": "auth", "TRUNKLINE_AUTH_LISTEN": address,
            "TRUNKLINE_AUTH_KEYS": os.path.join(directory, "keys")})

    def set(self, **settings):
        """Other settings, from the next start on."""
        self._environment.update({f"TRUNKLINE_{name.upper()}": str(value)
                                  for name, value in settings.items()})

    def command(self, *words, text=""):
        """What trunkline-auth prints; it must succeed."""
        done = self.try_command(*words, text=text)
        assert done.returncode == 0, done
        return done.stdout

    def try_command(self, *words, text=""):
        return subprocess.run([f"{BUILD}/trunkline-auth", *words], input=text, text=True,
                              capture_output=True, env=self._environment, timeout=PATIENCE,
                              check=False, cwd=ROOT)

    def post(self, path, body, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return http("POST", self.url + path, body, headers)

    def get(self, path):
        return http("GET", self.url + path)

    def is_ready(self):
        """It has published its keys."""
        return self.get("/readyz")[0] == 200

    def register(self, user):
        status, answer = self.post("/register", {"username": user, "password": PASSWORD})
        assert status in (200, 201), (status, answer)

    def login(self, user, **fields):
        status, answer = self.post("/login", {"username": user, "password": PASSWORD, **fields})
        assert status == 200, (status, answer)
        return answer

    def guess_in_vain(self, user):
        """Wrong passwords, until the next one has to wait for some seconds."""
        def must_wait():
            status, answer = self.post("/login", {"username": user, "password": "a wrong one"})
            return status == 429 and answer["error"]["retry_after_ms"] > 2000
        wait_until(must_wait, f"no more tries for {user}")

    def logout(self, login):
        """Ends what a login began: its token and its refresh token."""
        status, answer = self.post("/logout", {"refresh_token": login["refresh_token"]},
                                   token=login["token"])
        assert status in (200, 204), (status, answer)


class Router(Process):
    def __init__(self, name, directory, environment):
        super().__init__(name, [f"{BUILD}/router"], directory,
                         {**environment, "TRUNKLINE_NAME": name})

    def is_ready(self):
        return True  # the gateways are ready when their partitions answer


class Gateway(Process):
    def __init__(self, name, directory, environment, binary="gateway"):
        self.address = f"127.0.0.1:{free_port()}"
        super().__init__(name, [f"{BUILD}/{binary}"], directory, {
            **environment, "TRUNKLINE_NAME": name, "TRUNKLINE_GATEWAY_LISTEN": self.address})
        if "TRUNKLINE_GATEWAY_TLS_CERTIFICATE" in environment:
            self.tls_address = f"localhost:{free_port()}"
            self._environment["TRUNKLINE_GATEWAY_TLS_LISTEN"] = self.tls_address.replace(
                "localhost", "127.0.0.1")

    def is_ready(self, whole=True):
        """It says so, and whole: hears of every partition. One that was ready stays so with some."""
        status, page = self.get("/readyz")
        if status != 200 or not whole:
            return status == 200
        answering, all_of_them = re.search(
            r"partitions_answering\W+(\d+)\W+partitions\W+(\d+)", str(page)).groups()
        return answering == all_of_them

    def get(self, path):
        if self._environment.get("TRUNKLINE_PROXY_PROTOCOL") == "on":
            return http_through_proxy(self.address, path)
        return http("GET", f"http://{self.address}{path}")

    def reload(self):
        self._process.send_signal(signal.SIGHUP)


class Stack:
    """
    Redis, auth, router and gateways. Settings by their names in common/settings.def:
    Stack(lease_ms=500). With auth=False tokens are HS256 and signed here: many users cost nothing.
    """

    living = []  # whose logs are shown when a test fails

    def __init__(self, gateways=2, auth=True, gateway_binary="gateway", **settings):
        self.directory = tempfile.mkdtemp(prefix="trunkline-e2e-")
        self.redis = Redis(self.directory)
        self.secret = None if auth else os.urandom(24).hex()
        self.settings = {"rate_limits": "off", **settings}
        self._tokens = {}
        self._clients = []
        self.auth = Auth(self.directory, self.environment()) if auth else None
        self.router = Router("router-1", self.directory, self.environment())
        self.gateways = [Gateway(f"gateway-{n + 1}", self.directory, self.environment(),
                                 gateway_binary)
                         for n in range(gateways)]
        Stack.living.append(self)
        self.processes = [*self.gateways, self.router, *([self.auth] if auth else []), self.redis]

    def environment(self):
        environment = {f"TRUNKLINE_{name.upper()}": str(value)
                       for name, value in self.settings.items()}
        environment["TRUNKLINE_REDIS"] = self.redis.url
        if self.secret:
            path = os.path.join(self.directory, "secret")
            with open(path, "w", encoding="ascii") as file:
                file.write(self.secret)
            environment["TRUNKLINE_TOKEN_SECRET_FILE"] = path
        return environment

    # ---- life ------------------------------------------------------------------------------

    def start(self):
        self.redis.start()
        wait_until(self.redis.is_ready, "Redis answers")
        for process in self.processes[:-1]:
            process.start()
        self.await_ready()
        return self

    def await_ready(self):
        for process in self.processes:
            wait_until(lambda: process.is_ready() or not process.is_alive(),
                       f"{process.name} is ready")
        self.check()

    def check(self):
        """Nothing has died that was not killed, and nothing complained."""
        for process in self.processes:
            assert process.is_alive() or not process.expected_alive, (
                f"{process.name} died:\n{process.log()[-4000:]}")
            defect = DEFECTS.search(process.log())
            assert not defect, f"{process.name}:\n{process.log()[defect.start():][:8000]}"

    def close(self):
        """Ends all, those that take work from outside first."""
        problems = []
        self.abandon_clients()
        for step in (self.check, *(process.stop for process in self.processes
                                   if process.is_alive()), self.check):
            try:
                step()
            except AssertionError as problem:
                problems.append(str(problem))
        Stack.living.remove(self)
        shutil.rmtree(self.directory)
        assert not problems, "\n\n".join(problems)

    def add_router(self):
        """One more router; it takes over what a dead one had."""
        router = Router(f"router-{next(_numbers)}", self.directory, self.environment())
        router.start()
        self.processes.insert(len(self.gateways), router)
        return router

    def restart_redis(self):
        self.redis.stop()
        self.redis.start()
        wait_until(self.redis.is_ready, "Redis answers again")

    # ---- users -----------------------------------------------------------------------------

    def users(self, *names):
        """Names that no other test uses."""
        return [f"{name}-{next(_numbers)}" for name in names]

    def token(self, user):
        if user not in self._tokens:
            if self.auth:
                self.auth.register(user)
                self._tokens[user] = self.auth.login(user)["token"]
            else:
                self._tokens[user] = sign_token(self.secret, sub=user)
        return self._tokens[user]

    def url(self, gateway=0, **query):
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return f"ws://{self.gateways[gateway].address}/ws{'?' if text else ''}{text}"

    def connect(self, user, gateway=0, query=None, settled=True, **options):
        """
        A client that has been welcomed, with the connection_id it was told. With ssl (a context)
        it comes through the gateway's TLS port.
        """
        url = self.url(gateway, token=self.token(user), **(query or {}))
        if "ssl" in options:
            url = url.replace("ws://" + self.gateways[gateway].address,
                              "wss://" + self.gateways[gateway].tls_address)
        client = Client(url, user=user, **options)
        self._clients.append(client)
        if options.get("reading", True):
            client.connection_id = client.welcome()["connection_id"]
            if settled:
                client.settle()
        return client

    def open(self, protocol, user, gateway=0, query=None, **options):
        """A client of any protocol, as soon as it is connected: nothing that came is taken."""
        path, naming = ENDPOINTS[protocol]
        query = {"token": self.token(user), **naming(user), **(query or {})}
        query = urllib.parse.urlencode({name: value for name, value in query.items()
                                        if value is not None})
        client = Client(f"ws://{self.gateways[gateway].address}{path}?{query}", user=user, **options)
        self._clients.append(client)
        return client

    def redis_holds_for(self, user, count):
        """Waits until so many messages are kept for the user: in his mailbox, or in a dialog."""
        def held():
            total = 0
            for key in self.redis.command("KEYS", f"*:mailbox:*{user}*"):
                total += self.redis.command("XLEN", key)
            for key in self.redis.command("KEYS", f"*:dialog:*{user}*"):
                total += int(self.redis.command("HGET", key, "last") or 0)
            return total >= count
        wait_until(held, f"{count} messages are kept for {user}")

    def abandon_clients(self):
        """Those of connect() are gone, without a word."""
        for client in self._clients:
            client.abandon()
        self._clients.clear()
