"""
A client of one WebSocket: blocking calls in front of python3-websockets, whose event loop runs in
a thread of its own. Its legacy client is the one that Debian 12 (10.4) and Debian 13 (15) share.
"""

import asyncio
import itertools
import json
import socket
import threading

from websockets.exceptions import ConnectionClosed, InvalidStatusCode
from websockets.legacy.client import connect

from waiting import PATIENCE

_loop = asyncio.new_event_loop()
_ids = itertools.count(1)
threading.Thread(target=_loop.run_forever, daemon=True).start()


def _run(coroutine, timeout=2 * PATIENCE):
    return asyncio.run_coroutine_threadsafe(coroutine, _loop).result(timeout)


class Refused(Exception):
    """The upgrade was answered with an HTTP status other than 101."""

    def __init__(self, status):
        super().__init__(f"upgrade refused with {status}")
        self.status = status


class Closed(AssertionError):
    """The connection has ended before what was waited for."""


class Client:
    """
    Reads all the time (with reading=False not before read() is called) and keeps what comes:
    `arrived` has every message, `texts` the same as it was written; take() hands each out once.
    """

    def __init__(self, url, *, user=None, reading=True, receive_buffer=None, **options):
        self.user = user
        self.arrived = []
        self.texts = []
        self.close_code = None
        self._untaken = []
        self._changed = threading.Condition()
        self._socket = _run(_open(url, reading, receive_buffer, options))
        self.subprotocol = self._socket.subprotocol
        if reading:
            self.read()

    # ---- what comes ------------------------------------------------------------------------

    def read(self):
        asyncio.run_coroutine_threadsafe(self._read(), _loop)

    async def _read(self):
        try:
            async for text in self._socket:
                self._keep(text)
        except ConnectionClosed:
            pass
        with self._changed:
            self.close_code = self._socket.close_code
            self._changed.notify_all()

    def _keep(self, text):
        try:
            message = (json.loads(text) if isinstance(text, str)
                   else {"type": "(binary)", "data": text})
        except ValueError:
            message = text  # binary, or of a protocol that is no JSON
        with self._changed:
            self.texts.append(text)
            self.arrived.append(message)
            self._untaken.append(message)
            self._changed.notify_all()

    def _await(self, condition, timeout):
        """The first true value of condition(), or a false one when time or connection ends."""
        value = None

        def is_over():
            nonlocal value
            value = condition()
            return value or self.close_code

        with self._changed:
            self._changed.wait_for(is_over, timeout)
        return value

    def _first(self, where):
        for index, message in enumerate(self._untaken):
            if where(message):
                return self._untaken.pop(index)
        return None

    def take_where(self, where, what, timeout=PATIENCE):
        """The first message that fits, of those not taken yet or to come."""
        message = self._await(lambda: self._first(where), timeout)
        if message:
            return message
        raise (Closed if self.close_code else AssertionError)(
            f"{self.user} got no {what} (close code {self.close_code}), "
            f"but {len(self._untaken)} others: {self._untaken[:10]}")

    def take(self, kind, timeout=PATIENCE, **fields):
        """The data of the first message of this type with these top-level fields."""
        expected = {"type": kind, **fields}
        return self.take_where(lambda message: expected.items() <= message.items(),
                               expected, timeout)["data"]

    def answer(self, id, timeout=PATIENCE):
        """The Ack or Error to the request with this id."""
        return self.take_where(
            lambda message: message.get("id") == id and message["type"] in ("Ack", "Error"),
            f"answer to {id}", timeout)

    def text_of(self, message):
        """What came for this message, as it was written: of the newest, if several are equal."""
        with self._changed:
            return next(text for text, arrived in zip(reversed(self.texts), reversed(self.arrived))
                        if arrived == message)

    def forget(self, where):
        """As if these messages had never come: no trace of them, whatever comes meanwhile."""
        with self._changed:
            kept = [(message, text) for message, text in zip(self.arrived, self.texts)
                    if not where(message)]
            self.arrived = [message for message, _ in kept]
            self.texts = [text for _, text in kept]
            self._untaken = [message for message in self._untaken if not where(message)]

    def text(self, number, timeout=PATIENCE):
        """What came as this one, counted from 0, as it was written; None if it does not come."""
        def arrived():
            return len(self.texts) > number
        return self.texts[number] if self._await(arrived, timeout) else None

    def of_type(self, kind):
        """The data of all messages of this type that have come, in order, taken or not."""
        return [message["data"] for message in list(self.arrived) if message["type"] == kind]

    def await_count(self, kind, count, timeout=PATIENCE):
        """The same, when there are at least so many."""
        self._await(lambda: len(self.of_type(kind)) >= count, timeout)
        messages = self.of_type(kind)
        assert len(messages) >= count, (f"{self.user} got {len(messages)} of {count} {kind} "
                                        f"(close code {self.close_code})")
        return messages

    def await_close(self, timeout=PATIENCE):
        """The close code, 1006 when the connection ended without one."""
        assert self._await(lambda: self.close_code, timeout), f"{self.user} is still connected"
        return self.close_code

    # ---- what goes -------------------------------------------------------------------------

    def send_text(self, text):
        try:
            _run(self._socket.send(text))
        except ConnectionClosed as closed:
            raise Closed(str(closed)) from None

    def send_texts(self, texts):
        """All of them at once: what counts messages by time has no time to forget one."""
        async def send():
            for text in texts:
                await self._socket.send(text)
        try:
            _run(send())
        except ConnectionClosed as closed:
            raise Closed(str(closed)) from None

    def send_bytes(self, payload):
        """A binary message."""
        self.send_text(payload)

    def send_frame(self, opcode, payload):
        """One frame as it is, valid or not."""
        _run(self._socket.write_frame(True, opcode, payload))

    def send_raw(self, data):
        """Bytes behind the frames that were sent."""
        _loop.call_soon_threadsafe(self._socket.transport.write, data)

    def send(self, kind, data, **fields):
        """Returns the id it was sent with: a fresh one unless given; None sends none."""
        fields.setdefault("id", f"id-{next(_ids)}")
        fields = {name: value for name, value in fields.items() if value is not None}
        self.send_text(json.dumps({"type": kind, "data": data, **fields}))
        return fields.get("id")

    def send_at_once(self, kind, each):
        """One with each of these data, by send_texts(); returns their ids."""
        messages = [{"type": kind, "data": data, "id": f"id-{next(_ids)}"} for data in each]
        self.send_texts(map(json.dumps, messages))
        return [message["id"] for message in messages]

    def send_direct(self, to, payload, **fields):
        return self.send("DirectMessage", {"target_user": to, "payload": payload}, **fields)

    def send_broadcast(self, topic, payload, **fields):
        return self.send("Broadcast", {"topic": topic, "payload": payload}, **fields)

    # ---- both ------------------------------------------------------------------------------

    def welcome(self):
        return self.take("Status")["details"]

    def direct(self, to, payload, **fields):
        """Sends it and returns the answer."""
        return self.answer(self.send_direct(to, payload, **fields))

    def broadcast(self, topic, payload, **fields):
        return self.answer(self.send_broadcast(topic, payload, **fields))

    def subscribe(self, *topics):
        """Returns the details of the Status, when the Ack has come too."""
        return self._change_subscriptions("Subscribe", topics)

    def unsubscribe(self, *topics):
        return self._change_subscriptions("Unsubscribe", topics)

    def _change_subscriptions(self, kind, topics):
        id = self.send(kind, {"topics": list(topics)})
        answer = self.answer(id)
        assert answer["type"] == "Ack", answer
        return self.take("Status", id=id)["details"]

    def ping(self):
        """A round trip through the gateway: the connection lives."""
        timestamp = next(_ids)
        self.send("Ping", {"timestamp": timestamp}, id=None)
        self.take_where(lambda message: message["type"] == "Pong"
                        and message["data"] == {"timestamp": timestamp}, "Pong")

    def round_trip(self):
        """What was sent to the client before has arrived, of any protocol."""
        async def beat():
            await (await self._socket.ping())
        try:
            _run(beat())
        except ConnectionClosed:
            pass  # close_code says it

    def settle(self):
        """
        Returns when every partition has answered the connection (its user's has at the welcome,
        but for one that is silent for a second). Leaves no trace.
        """
        ids = [self.send(kind, {"topics": ["settle.*"]}) for kind in ("Subscribe", "Unsubscribe")]
        for id in ids:
            self.answer(id)
            self.take("Status", id=id)
        self.forget(lambda message: message.get("id") in ids)

    # ---- the end ---------------------------------------------------------------------------

    def close(self):
        _run(self._socket.close())

    def break_off(self):
        """
        Ends the TCP connection without a word, but reads what is on its way: a gateway takes for
        received what the client's kernel has taken.
        """
        self._socket.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        self.await_close()

    def abandon(self):
        """Breaks the TCP connection without a word."""
        _loop.call_soon_threadsafe(self._socket.transport.abort)

    def abort(self):
        """The same, and waits until it is broken."""
        self.abandon()
        self.await_close()


def finish():
    """Ends what is left of all clients, without a word."""

    async def cancel():
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    _run(cancel())


async def _open(url, reading, receive_buffer, options):
    if receive_buffer:
        options["sock"] = socket.socket()
        options["sock"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        host, port = url.split("/")[2].split(":")
        options["sock"].connect((host, int(port)))
        if "ssl" in options:
            options["server_hostname"] = host
    options.setdefault("compression", None)
    try:
        return await connect(url, max_queue=None if reading else 1, max_size=None,
                             ping_interval=None, open_timeout=PATIENCE, **options)
    except InvalidStatusCode as refusal:
        raise Refused(refusal.status_code) from None
