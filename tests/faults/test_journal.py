"""A journal has all that the client's TCP took, however the connection ends."""

import asyncio
import json
import socket
import struct
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.legacy.server import serve

from journal import Client, Recorder
from waiting import PATIENCE

MESSAGES = 20  # few enough for the receive window
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


def message(number):
    return json.dumps({"type": "DirectMessage", "data": {
        "from_user": "a", "payload": {"message": f"a:{number}|{number}|" + "x" * 100},
        "metadata": {"message_id": f"a:{number}"}}})


class Server:
    """
    Welcomes, waits until it is told to, sends all messages at once, and resets the connection.
    """

    def __init__(self):
        self.may_send = asyncio.Event()
        self.has_sent = asyncio.Event()
        self.may_reset = asyncio.Event()

    async def __call__(self, websocket):
        await websocket.send(json.dumps({"type": "Status", "data": {
            "status": "connected", "details": {"connection_id": "c"}}}))
        try:
            await self.may_send.wait()
            for number in range(MESSAGES):
                await websocket.send(message(number))
            self.has_sent.set()
            await self.may_reset.wait()
            connection = websocket.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            websocket.transport.abort()
        except (ConnectionClosed, OSError):
            pass


async def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s"
        await asyncio.sleep(0.01)


async def scenario(end):
    server = Server()
    async with serve(server, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        recorder = Recorder()
        client = Client(recorder, "b", "b", "token", [f"127.0.0.1:{port}"], seed=1, peers=["a"],
                        pace=0.001)
        client.start()
        await until(lambda: client._conn)
        client.leave("stall", 60)  # what comes now stays in the kernel
        server.may_send.set()
        await server.has_sent.wait()
        client.sending = end != "abort"
        if end == "abort":
            client.leave("abort")
        else:
            server.may_reset.set()  # the client notices when it writes
        server.may_send.clear()
        await until(lambda: any(event["event"] == "closed" for event in recorder.events))
        client.sending = False
        server.may_send.set()
        server.may_reset.set()
        client.away = True
        await client.stop()
    return recorder.events


class StubbornClient(Client):
    """Before Python 3.12 a cancel that meets the success of wait_for, and so of connect, is lost."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.connecting = asyncio.Event()

    async def _connect(self):
        self.connecting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return await super()._connect()


async def stop_while_connecting():
    server = Server()
    server.may_send.set()
    server.may_reset.set()
    async with serve(server, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = StubbornClient(Recorder(), "b", "b", "token", [f"127.0.0.1:{port}"], seed=1)
        client.start()
        await client.connecting.wait()
        await asyncio.wait_for(client.stop(), 10)


def test_a_client_that_was_just_connecting_is_stopped():
    asyncio.run(stop_while_connecting())


@pytest.mark.parametrize("end", ["reset while it writes", "abort"])
def test_what_tcp_took_is_in_the_journal(end):
    events = asyncio.run(scenario(end))
    closed = next(place for place, event in enumerate(events) if event["event"] == "closed")
    came = [event["number"] for event in events[:closed] if event["event"] == "came"]
    assert came == list(range(MESSAGES))
