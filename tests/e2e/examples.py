"""
The examples of the protocol references, gateway/protocols/*.md: what stands there is played against
the server. A scene is what stands under one heading; in it

    <!-- example: connect alice acks=1 -->       opens a connection, with these query parameters
    <!-- example: client alice -->               the block that follows is sent by alice
    <!-- example: server alice -->               a message like this comes to alice
    <!-- example: close alice -->                alice goes; `closed alice 4001`: was sent away

In what the server sends a string "$name" stands for a value that later blocks know by that name. A
timestamp like 2026-11-21T12:00:00.000Z in what a client sends is sent as the time of the test.

connect may be left out: the first mention of a name connects it. A name with a device or a second
connection is written alice/2: same user. In what the server sends "..." stands for any value, and
a member "...": "..." for any more members; an array ["...", x] may have more before x. What
else comes meanwhile is passed over. Users' names are made unique for each scene, so scenes do not
meet.
"""

import json
import re

from callie import timestamp
from waiting import wait_until

MARK = re.compile(r"<!-- example: (\w+) (\S+)(.*?)-->")
FENCE = re.compile(r"```\w*\n(.*?)```", re.S)
ANY = "..."
NAME = re.compile(r"\$[a-z]+")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def scenes(text):
    """(heading, steps) of each heading that has examples; a step is (verb, name, rest, block)."""
    for part in re.split(r"^(?=#{1,4} )", text, flags=re.M):
        steps = []
        for mark in MARK.finditer(part):
            verb, name, rest = mark.group(1), mark.group(2), mark.group(3).strip()
            block = None
            if verb in ("client", "server"):
                block = FENCE.search(part, mark.end()).group(1).strip()
            steps.append((verb, name, rest, block))
        if steps:
            yield part.splitlines()[0].lstrip("# "), steps


def fits(pattern, value):
    """Whether a value is what a pattern says."""
    if pattern == ANY or isinstance(pattern, str) and NAME.fullmatch(pattern):
        return True
    if isinstance(pattern, dict) and isinstance(value, dict):
        more = ANY in pattern
        named = {name: of for name, of in pattern.items() if name != ANY}
        return (named.keys() <= value.keys() if more else named.keys() == value.keys()) and all(
            fits(of, value[name]) for name, of in named.items())
    if isinstance(pattern, list) and isinstance(value, list):
        if pattern[:1] == [ANY]:
            pattern = pattern[1:]
            value = value[len(value) - len(pattern):] if pattern else []
        return len(pattern) == len(value) and all(map(fits, pattern, value))
    return type(pattern) is type(value) and pattern == value


def named(pattern, value):
    """What the names of a pattern that fits stand for."""
    if isinstance(pattern, str) and NAME.fullmatch(pattern):
        return {pattern: value}
    if isinstance(pattern, dict):
        return {name: found for key, of in pattern.items() if key != ANY
                for name, found in named(of, value[key]).items()}
    return {}


class Scene:
    def __init__(self, stack, protocol, number, steps):
        self.stack, self.protocol = stack, protocol
        names = {name.split("/")[0] for _, name, _, _ in steps}
        self.aliases = {name: f"{name}x{number}" for name in names}
        self.clients = {}
        self.named = {}
        self.steps = steps

    def disguise(self, text):
        """Users' names as they are in this scene alone, wherever they stand."""
        for name, value in self.named.items():
            text = text.replace(name, value)
        for name, alias in self.aliases.items():
            text = re.sub(rf"\b{re.escape(name)}\b", alias, text)
        return text

    def client(self, name, query=None):
        if name not in self.clients:
            user = self.aliases[name.split("/")[0]]
            self.clients[name] = self.stack.open(
                self.protocol, user, gateway=len(self.clients) % len(self.stack.gateways),
                query=query)
            self.await_known(user)
        return self.clients[name]

    def await_known(self, user):
        """Where nothing is kept, who is not known to be there gets nothing."""
        def is_known():
            return any(self.stack.redis.command("HGET", key, "status") == "online"
                       for key in self.stack.redis.command("KEYS", f"*:user:{user}"))
        if self.protocol == "callie":
            wait_until(is_known, f"{user} is known to be there")

    def play(self):
        for verb, name, rest, block in self.steps:
            getattr(self, f"do_{verb}")(name, rest, block)

    def do_connect(self, name, rest, _):
        self.client(name, dict(word.split("=", 1) for word in self.disguise(rest).split()))

    def do_client(self, name, _, block):
        self.client(name).send_text(TIMESTAMP.sub(timestamp(), self.disguise(block)))

    def do_server(self, name, _, block):
        pattern = json.loads(self.disguise(block))
        message = self.client(name).take_where(lambda message: fits(pattern, message), pattern)
        self.named.update(named(pattern, message))

    def do_close(self, name, *_):
        self.clients.pop(name).close()

    def do_closed(self, name, code, _):
        assert self.client(name).await_close() == int(code)
