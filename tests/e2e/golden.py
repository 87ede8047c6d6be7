"""
Golden transcripts: golden/<protocol>.txt is one session of several users, to the byte. Its lines:

    set presence_grace_ms=200              settings of the deployment, before all else
    alice opens /chat?token=<token alice> at 1
                                           a WebSocket at gateway 1 or 2; another of hers is alice/2
    bob opens /simple at 2 with Authorization: Basic Ym9iOg==
                                           with a header in the request
    bob opens /chat at 2: 401              the upgrade is refused
    alice> {"type": ...}                   what alice sends; lines in a row are sent at once
    alice< {"type": ...}                   the next that comes to alice
    alice, bob< {"type": ...}              the same for each of them
    alice>> 02 00000006 0003 "bob" ff      a binary message: hexadecimal, and text in quotes; also <<
    alice closes 1000                      she does, and is answered with this code
    alice is closed 4001                   by the server, after all that stands here has come
    alice breaks                           TCP ends without a word
    the backend publishes {"user": ...}    by the HTTP API of gateway 1, POST /api/v1/publish
    the gateways stop                      as on SIGTERM
    # a comment

An indented line belongs to the one before it. What comes to one connection comes in the order of the
transcript, but where a protocol promises none, between "in any order {" and "}". Between connections
nothing is said about order.

What varies is written <kind name>: the same name is the same value again, another name of an id
another value; without a name it is any. Kinds are <time> in Unix seconds and <instant> in ISO 8601,
both within the play, and <uuid>, <ulid>, <number>. What a client sends may name what it has seen; a new
<instant> is now, <token alice> is her token, <admin alice> one with the claim `admin`, <brief alice> one
for 3 seconds.

Before each step of a client, and at the end, all that was under way has arrived, and it must have stood
here. Nothing writes transcripts but people.
"""

import itertools
import json
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone

from callie import timestamp
from client import Client, Refused
from harness import Stack, http, sign_token
from waiting import SLOWNESS, wait_until

KEY = "a-key-of-the-HTTP-API"
HOPS = 4  # partitions that what one message does passes through one after the other, at most
KINDS = {
    "time": r"\d{10}",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "uuid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "ulid": r"[0-7][0-9A-HJKMNP-TV-Z]{25}",
    "number": r"\d+",
}
IDS = ("uuid", "ulid")
TOKENS = {
    "token": dict,
    "admin": lambda: {"admin": True},
    "brief": lambda: {"exp": int(time.time() + 3 * SLOWNESS)},
}
PLACE = re.compile(rf"<({'|'.join(KINDS)})(?: (\w+))?>")
SAID = re.compile(r"<(\w+) (\w+)>")
LINE = re.compile(r"""(?P<who>the\ gateways|the\ backend|[\w/]+(?:,\ [\w/]+)*)(?:
    \ opens\ (?P<path>/.*?)\ at\ (?P<seat>\d)(?:\ with\ (?P<header>.+?))?(?::\ (?P<refused>\d+))?
  | (?P<sign><<?|>>?)\ (?P<text>.*)
  | \ (?P<end>closes|is\ closed)\ (?P<code>\d+)
  | \ (?P<act>publishes)\ (?P<body>.*)
  | \ (?P<word>breaks|stop))""", re.X)


# ---- the format --------------------------------------------------------------------------------

@dataclass
class Step:
    line: int
    verb: str  # ">", "<" or the word in its line
    who: str
    text: str | bytes = ""
    code: int = 0
    path: str = ""
    seat: int = 0
    header: str = ""

    def __str__(self):
        return f"line {self.line}, {self.who} {self.verb}"


def read(transcript):
    """The settings, and the steps in blocks, of more than one where order is free."""
    settings, blocks, free = {}, [], False
    for number, line in lines_of(transcript):
        if line.startswith("set "):
            settings.update(word.split("=", 1) for word in line.split()[1:])
        elif line == "in any order {":
            free = True
            blocks.append([])
        elif line == "}":
            free = False
        elif free:
            blocks[-1] += steps_of(number, line)
            assert blocks[-1][-1].verb == "<", f"line {number} has its place: {line}"
        else:
            blocks += [[step] for step in steps_of(number, line)]
    return settings, blocks


def lines_of(transcript):
    """(number, line) of what is no comment."""
    lines = []
    for number, line in enumerate(transcript.splitlines(), 1):
        if line.startswith(" "):
            before, text = lines.pop()
            lines.append((before, text + line.strip()))
        elif line and not line.startswith("#"):
            lines.append((number, line))
    return lines


def steps_of(number, line):
    part = LINE.fullmatch(line)
    assert part, f"line {number} is none: {line}"
    if part["path"]:
        fields = {"verb": "opens", "path": part["path"], "seat": int(part["seat"]),
                  "header": part["header"] or "", "code": int(part["refused"] or 101)}
    elif part["sign"]:
        binary = len(part["sign"]) == 2
        fields = {"verb": part["sign"][0], "text": octets(part["text"]) if binary else part["text"]}
    elif part["act"]:
        fields = {"verb": part["act"], "text": part["body"]}
    else:
        fields = {"verb": part["end"] or part["word"], "code": int(part["code"] or 1006)}
    return [Step(number, who=who, **fields) for who in part["who"].split(", ")]


def octets(text):
    """01 0003 "bob" as bytes."""
    return b"".join(word[1:-1].encode() if word.startswith('"') else bytes.fromhex(word)
                    for word in re.findall(r'"[^"]*"|\S+', text))


# ---- what varies -------------------------------------------------------------------------------

def matched(pattern, text, names, since):
    """The names, with those that this text gives a value; None when it is not what was written."""
    if isinstance(pattern, bytes) or isinstance(text, bytes):
        return names if pattern == text else None
    literals = [re.escape(part) for part in PLACE.split(pattern)[::3]]
    places = PLACE.findall(pattern)
    form = "".join(literal + f"({KINDS[kind]})" for literal, (kind, _) in zip(literals, places))
    match = re.fullmatch(form + literals[-1], text, re.S)
    if not match:
        return None
    names = dict(names)
    for place, value in zip(places, match.groups()):
        if not is_now(place[0], value, since):
            return None
        if place[1]:
            if place not in names and place[0] in IDS and value in names.values():
                return None
            if names.setdefault(place, value) != value:
                return None
    return names


def is_now(kind, value, since):
    if kind == "instant":
        value = datetime.fromisoformat(value[:-1]).replace(tzinfo=timezone.utc).timestamp()
    return kind not in ("time", "instant") or since - 1 <= float(value) <= time.time() + 1


# ---- the play ----------------------------------------------------------------------------------

@dataclass
class Seat:
    """A connection of the play: at this gateway; so many texts of it have stood there."""

    client: Client
    gateway: int
    taken: int = 0


class Play:
    """A transcript on a deployment of its own; gateways: which are 1 and 2 of the transcript."""

    def __init__(self, transcript, gateways=(1, 2)):
        settings, self._blocks = read(transcript)
        self._gateways = gateways
        self._stack = Stack(auth=False, api_keys=f"golden:publish:{KEY}", **settings)
        self._seats = {}
        self._names = {}
        self._since = time.time()

    def run(self):
        with ExitStack() as self._afterwards:
            self._afterwards.callback(self._stack.close)
            self._stack.start()
            self._probes = [self._stack.connect(f"probe{gateway}", gateway)
                            for gateway in range(len(self._stack.gateways))]
            verb = None
            for block in self._blocks:
                if block[0].verb not in ("<", "is closed", ">" if verb == ">" else None):
                    self._settle(block[0])
                verb = block[0].verb
                if verb == "<":
                    self._gets(block)
                else:
                    self._do[verb](self, block[0])
            self._settle("the end")

    def _opens(self, step):
        gateway = self._gateways[step.seat - 1] - 1
        options = {}
        name, _, value = self._said(step.header).partition(": ")
        if name == "Sec-WebSocket-Protocol":
            options["subprotocols"] = [value]
        elif name:
            options["extra_headers"] = {name: value}
        try:
            client = Client(f"ws://{self._stack.gateways[gateway].address}{self._said(step.path)}",
                            user=step.who, **options)
        except Refused as refused:
            assert refused.status == step.code, f"{step}: {refused}"
            return
        self._stack._clients.append(client)
        assert step.code == 101, f"{step}: is not refused"
        assert client.subprotocol in options.get("subprotocols", [None]), f"{step}: no subprotocol"
        self._seats[step.who] = Seat(client, gateway)

    def _sends(self, step):
        self._seats[step.who].client.send_text(self._said(step.text))

    def _gets(self, block):
        for who in dict.fromkeys(step.who for step in block):
            steps = [step for step in block if step.who == who]
            texts = [self._next(step) for step in steps]
            orders = itertools.permutations(steps)
            names = [names for names in (self._all_matched(order, texts) for order in orders)
                     if names is not None]
            assert names, "\n".join([f"{steps[0]}", *(f"  written: {self._known(step.text)}"
                                                      for step in steps),
                                     *(f"  came:    {text}" for text in texts)])
            self._names = names[0]

    def _known(self, text):
        """With the values of what is named."""
        return text if isinstance(text, bytes) else PLACE.sub(
            lambda place: self._names.get(place.groups(), place[0]), text)

    def _next(self, step):
        seat = self._seats[step.who]
        text = seat.client.text(seat.taken)
        assert text is not None, (
            f"{step}: nothing came (close code {seat.client.close_code})\n  written: {step.text}")
        seat.taken += 1
        return text

    def _all_matched(self, steps, texts):
        names = self._names
        for step, text in zip(steps, texts):
            names = matched(step.text, text, names, self._since)
            if names is None:
                return None
        return names

    def _ends(self, step):
        seat = self._seats.pop(step.who)
        if step.verb == "closes":
            seat.client.close()
        elif step.verb == "breaks":
            seat.client.abandon()
        code = seat.client.await_close()
        self._assert_nothing_came(step, seat)
        assert code == step.code, f"{step}: with {code}, not {step.code}"
        if self._probes:
            self._await_gone(seat.gateway)

    def _publishes(self, step):
        address = self._stack.gateways[self._gateways[0] - 1].address
        status, answer = http("POST", f"http://{address}/api/v1/publish", json.loads(step.text),
                              {"Authorization": f"Bearer {KEY}",
                               "Content-Type": "application/json"})
        assert status == 200, f"{step}: {status} {answer}"

    def _stops(self, _):
        self._probes = []
        for gateway in self._stack.gateways:
            gateway.terminate()
            self._afterwards.callback(gateway.await_exit)

    _do = {"opens": _opens, ">": _sends, "closes": _ends, "breaks": _ends, "is closed": _ends,
           "publishes": _publishes, "stop": _stops}

    def _said(self, text):
        return text if isinstance(text, bytes) else SAID.sub(self._value, text)

    def _value(self, place):
        kind, name = place.groups()
        if kind in TOKENS:
            return sign_token(self._stack.secret, sub=name, **TOKENS[kind]())
        if kind == "instant":
            return self._names.setdefault((kind, name), timestamp())
        return self._names[kind, name]

    # ---- what is under way -----------------------------------------------------------------

    def _settle(self, step):
        """All that what was sent does has arrived: every partition has answered every gateway."""
        for _ in range(HOPS):
            for probe in self._probes:
                probe.settle()
        for seat in self._seats.values():
            seat.client.round_trip()
            self._assert_nothing_came(step, seat)

    def _assert_nothing_came(self, step, seat):
        unread = seat.client.texts[seat.taken:]
        assert not unread, f"{step}: before it came to {seat.client.user}, unexpectedly: {unread}"

    def _await_gone(self, gateway):
        """The gateway, too, knows that a connection has ended."""
        count = 1 + sum(seat.gateway == gateway for seat in self._seats.values())
        metric = re.compile(rf"^trunkline_connections{{[^}}]*}} {count}$", re.M)
        wait_until(lambda: metric.search(self._stack.gateways[gateway].get("/metrics")[1]),
                   f"gateway {gateway + 1} has {count} connections")
