"""
A client of the realtime protocol, and what those of others (speakers.py) have in common with it:
they write down what they did and what they saw (judge.py says how). What a journal has of a
connection is exact: all that this machine's TCP took for it is read, however the connection ends.
"""

import asyncio
import collections
import json
import os
import random
import socket
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.legacy.client import WebSocketClientProtocol, connect

RETRY_WITHIN = 100.0   # seconds: a router knows an answer for two minutes
ANSWER_WITHIN = 4.0    # without an answer for so long a client goes elsewhere
WINDOW = 32            # unanswered messages of one client
HANDSHAKE_WITHIN = 60.0  # and a closing one: a gateway may be stopped, and must not be lied to
RECEIVE = 1 << 18


class Recorder:
    """The one journal of a drill."""

    def __init__(self):
        self.events = []

    def write(self, event, **fields):
        self.events.append({"event": event, "t": round(time.monotonic(), 3), **fields})

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            for event in self.events:
                file.write(json.dumps(event) + "\n")


def text_of(message):
    """Any protocol can carry it."""
    return f"{message['id']}|{message['number']}|{message['fill']}"


class ExactProtocol(WebSocketClientProtocol):
    """
    Reads what has come before an error is looked at. The gateway counts what our TCP has taken as
    received, and asyncio would throw it away.
    """

    def connection_lost(self, exc):
        descriptor = self.transport.get_extra_info("socket").fileno()
        try:
            while data := os.read(descriptor, RECEIVE):
                self.data_received(data)
        except OSError:
            pass
        super().connection_lost(None)

    def fail_connection(self, code=1006, reason=""):
        """A write that failed must not end the reading of what came before."""
        if code != 1006 or not self.transport.is_closing():
            super().fail_connection(code, reason)

    def cut(self):
        """
        An end without a word, but to the byte: after shutdown() TCP takes nothing more, and what it
        has taken can still be read.
        """
        self.resume()
        try:
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def half_close(self):
        """No word goes out any more, not even a close frame; what comes is read to its end."""
        self.resume()
        try:
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def resume(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()


STOP_WITHIN = 20  # seconds


class Client:
    """
    One device of a user: always connected to some gateway unless `away`, and sending as long as
    `sending`. What was not answered is sent again, in order, before anything new.
    """

    protocol = "realtime"
    welcomes = True  # by itself, or nothing is said to one who has connected
    writes_to_groups = False

    def __init__(self, recorder, name, user, token, addresses, *, seed, acknowledges=False,
                 peers=(), topics=(), publishes=(), groups=(), follows=(), pace=0.06):
        self.name, self.user = name, user
        self.sending = self.away = False
        self.acknowledges = acknowledges
        self.problems = []
        self._recorder, self._token, self._addresses = recorder, token, addresses
        self._random = random.Random(seed)
        self._peers, self._publishes = list(peers), list(publishes)
        self._groups = list(groups) if self.writes_to_groups else []
        self._subscriptions = [*topics, *(f"presence.{user}" for user in follows)]
        self._pace = pace
        self._unanswered = collections.OrderedDict()  # id -> message
        self._numbers = self._connections = 0
        self._socket = self._conn = None
        self._stalled = None
        self._task = None

    # ---- for the drill ---------------------------------------------------------------------

    def start(self):
        self._task = asyncio.create_task(self._run())

    async def stop(self):
        """What has come is read to its end; one that was just connecting is cut as well, and nobody
        is waited for without a limit."""
        self.away = True
        deadline = time.monotonic() + STOP_WITHIN
        while self._socket and time.monotonic() < deadline:
            self.leave("abort")
            await asyncio.sleep(0.01)
        while not self._task.done():  # a cancel can be lost: before Python 3.12 connect forgets it
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    def is_settled(self):
        """Where it should be, with nothing unanswered."""
        if self.away:
            return self._socket is None
        return self._conn is not None and not self._unanswered and self._stalled is None

    def is_connected(self):
        return self._socket is not None

    def state(self):
        return (f"{self.name}: {'away' if self.away else 'here'}, connection {self._conn}, "
                f"unanswered {list(self._unanswered)[:5]}")

    def leave(self, kind, seconds=0.0):
        """Ends its connection in one of the ways in which connections end; it comes back."""
        if self._socket:
            getattr(self, "_leave_by_" + kind)(self._socket, seconds)

    def _leave_by_close(self, socket, _):
        self._unstall()
        asyncio.create_task(socket.close())

    def _leave_by_abort(self, socket, _):
        self._unstall()
        socket.cut()

    def _leave_by_half_close(self, socket, _):
        self._unstall()
        socket.half_close()

    def _leave_by_stall(self, socket, seconds):
        """Stops reading, so that the gateway has to end it; then reads what there was."""
        if self._stalled is None and not socket.transport.is_closing():
            socket.transport.pause_reading()
            self._stalled = asyncio.get_running_loop().call_later(seconds, self._unstall)

    def _unstall(self):
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None
            if self._socket:
                self._socket.resume()

    # ---- a life ----------------------------------------------------------------------------

    async def _run(self):
        while True:
            if self.away:
                await asyncio.sleep(0.05)
                continue
            try:
                socket = await self._connect()
            except (OSError, asyncio.TimeoutError, InvalidHandshake, ConnectionClosed, EOFError):
                await asyncio.sleep(self._random.uniform(0.05, 0.3))
                continue
            await self._live(socket)

    async def _connect(self):
        address = self._random.choice(self._addresses)
        return await connect(
            f"ws://{address}{self._path()}",
            create_protocol=ExactProtocol, open_timeout=HANDSHAKE_WITHIN,
            close_timeout=HANDSHAKE_WITHIN, ping_interval=None, max_queue=None, max_size=None,
            compression=None)

    def _path(self):
        return f"/ws?token={self._token}" + ("&ack=1" if self.acknowledges else "")

    async def _live(self, socket):
        self._connections += 1
        conn = f"{self.name}/{self._connections}"
        self._recorder.write("open", conn=conn, user=self.user, ack=self.acknowledges,
                             protocol=self.protocol, gateway=socket.remote_address[1])
        self._socket = socket
        if self.welcomes and self.protocol != "realtime":
            self._is_welcome(conn)
        writer = asyncio.create_task(self._write(socket, conn))
        try:
            async for text in socket:
                self._on_message(socket, conn, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self._unstall()
            self._socket = self._conn = None
            self._recorder.write("closed", conn=conn, code=socket.close_code)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    # ---- what goes -------------------------------------------------------------------------

    async def _write(self, socket, conn):
        try:
            await self._write_on(socket, conn)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # shown by the drill
            self.problems.append(repr(problem))
            socket.cut()

    async def _greet(self, socket, conn):
        if self._subscriptions:
            await socket.send(json.dumps({"type": "Subscribe", "id": f"s:{conn}",
                                          "data": {"topics": self._subscriptions}}))

    async def _write_on(self, socket, conn):
        await self._greet(socket, conn)
        started = time.monotonic()
        self._forget_old()
        for message in list(self._unanswered.values()):
            if message["id"] in self._unanswered:
                await self._send(socket, conn, message)
        while True:
            await asyncio.sleep(self._pace * self._random.uniform(0.2, 1.8))
            if self.away:
                await socket.close()
                return
            self._forget_old()
            if self._waits_too_long(started):
                socket.cut()
            if self.sending and self._conn and len(self._unanswered) < WINDOW:
                await self._send_new(socket, conn)

    def _forget_old(self):
        """Nobody would know any more that they were there before."""
        for id, message in list(self._unanswered.items()):
            if time.monotonic() - message["made"] > RETRY_WITHIN:
                del self._unanswered[id]

    def _waits_too_long(self, started):
        oldest = next(iter(self._unanswered.values()), None)
        return oldest and self._stalled is None and (
            time.monotonic() - max(started, oldest["made"]) > ANSWER_WITHIN)

    async def _send_new(self, socket, conn):
        message = self._make()
        if not message["anonymous"]:
            self._unanswered[message["id"]] = message
        await self._send(socket, conn, message)
        if self._random.random() < 0.03 and not message["anonymous"]:
            await self._send(socket, conn, message)  # impatient: once more, at once

    def _make(self):
        self._numbers += 1
        kind, to = self._choose()
        return {"id": f"{self.name}:{self._numbers}", "number": self._numbers,
                "kind": kind, "made": time.monotonic(), "to": to,
                "fill": "x" * self._random.choice((0, 10, 100, 1000)),
                # Without an id in the protocol the router cannot know a retry: there is none, and
                # nothing but the numbers of entries keeps it from being applied twice.
                "anonymous": self._is_anonymous()}

    def _choose(self):
        """One in five goes to a topic, or to a group, if it has any."""
        for kind, names in (("topic", self._publishes), ("group", self._groups)):
            if names and self._random.random() < 0.2:
                return kind, self._random.choice(names)
        return "direct", self._random.choice(self._receivers())

    def _receivers(self):
        return self._peers

    def _is_anonymous(self):
        return self._random.random() < 0.3

    async def _send(self, socket, conn, message):
        self._recorder.write("sent", conn=conn, kind=message["kind"], id=message["id"],
                             to=message["to"], number=message["number"],
                             anonymous=message["anonymous"])
        await self._say(socket, message)

    async def _say(self, socket, message):
        payload = {"message": text_of(message)}
        data = ({"topic": message["to"], "payload": payload} if message["kind"] == "topic" else
                {"target_user": message["to"], "payload": payload})
        await socket.send(json.dumps({
            "type": "Broadcast" if message["kind"] == "topic" else "DirectMessage", "data": data,
            **({} if message["anonymous"] else {"id": message["id"]})}))

    async def _acknowledge(self, socket, id, wait=0.0):
        await asyncio.sleep(wait)
        try:
            await socket.send(json.dumps({"type": "Ack", "id": f"k:{id}",
                                          "data": {"message_id": id}}))
        except ConnectionClosed:
            pass

    # ---- what comes ------------------------------------------------------------------------

    def _on_message(self, socket, conn, message):
        handle = getattr(self, "_on_" + message["type"].lower(), None)
        if handle:
            handle(socket, conn, message, message["data"])

    def _on_status(self, _, conn, message, data):
        if data["status"] == "connected":
            self._is_welcome(conn, id=data["details"]["connection_id"])
        elif data["status"] == "subscribed":
            topics = [topic for topic in self._subscriptions if not topic.startswith("presence.")]
            self._recorder.write("subscribed", conn=conn, topics=topics)

    def _is_welcome(self, conn, **fields):
        self._conn = conn
        self._recorder.write("welcome", conn=conn, **fields)

    def _on_presence(self, _, conn, message, data):
        self._recorder.write("presence", conn=conn, of=data["user_id"], status=data["status"])

    def _on_directmessage(self, socket, conn, message, data):
        self._came_to_me(conn, data["payload"]["message"], data["metadata"]["message_id"])
        if self.acknowledges:
            asyncio.create_task(self._acknowledge(socket, data["metadata"]["message_id"]))

    def _on_broadcast(self, _, conn, message, data):
        self._came(conn, "topic", data["payload"]["message"], data["topic"],
                   data["metadata"]["message_id"])

    def _came_to_me(self, conn, text, mid=None, group=None):
        return self._came(conn, "group" if group else "direct", text, group or self.user, mid)

    def _came(self, conn, kind, text, to, mid=None):
        id, number, _ = text.split("|")
        self._recorder.write("came", conn=conn, kind=kind, id=id, sender=id.rpartition(":")[0],
                             to=to, number=int(number), mid=mid)
        return id

    def _on_ack(self, _, conn, message, data):
        # A topic's receivers are a number: a retry must be told the same one.
        to = data.get("delivered_to", [f"{data.get('recipients')} connections"])
        if not message.get("id", "s:").startswith("s:"):
            self._answered(conn, message["id"], data["status"], to)

    def _on_error(self, socket, conn, message, data):
        id = message.get("id") or ""
        if id.startswith("k:"):
            asyncio.create_task(self._acknowledge(socket, id[2:], 0.2))
        elif id.startswith("s:"):
            socket.cut()  # and again, elsewhere
        elif not id:
            pass  # of one without an id: nobody knows which
        elif data["code"] == 404:
            self._answered(conn, id, "queued" if data["details"].get("queued") else "full")
        else:
            self._answered(conn, id, "refused", code=data["code"])

    def _answered(self, conn, id, how, to=(), **fields):
        self._recorder.write("answer", conn=conn, id=id, how=how, to=list(to), **fields)
        self._unanswered.pop(id, None)
