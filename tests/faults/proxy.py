#!/usr/bin/python3
"""
Stands between processes and Redis and does to them what networks do. One link (port) for each
process; commands come on standard input, one JSON object a line: {"link": "router-1", "fault":
"hold", "seconds": 1.5}. With "tell": true it says {"armed": "hold"} when it has heard it. Ends with
its standard input.

    proxy.py --upstream 127.0.0.1:6379 --link router-1=20001 --link gateway-1=20002

    delay      for `seconds`, everything waits up to `seconds` / 4, both ways
    stall      for `seconds`, nothing passes, both ways; then all of it
    cut_reply  the next script is run, and the connection ends before its reply
    half_reply the connection ends in the middle of the next reply
    half_request the connection ends in the middle of the next script's request
    hold       the next script does not reach Redis, its connection ends; `seconds` later it is run
               on another one
    cut        every connection of the link ends

EXEC is a script, too; one that was held is run on its own connection to Redis, which stays.
"""

import argparse
import asyncio
import json
import random
import sys
import time

from resp import RequestSplitter, first_word

CHUNK = 1 << 18


class Link:
    """The connections of one process, and what is to happen to them."""

    def __init__(self, name, upstream):
        self.name = name
        self.upstream = upstream
        self.pairs = set()
        self.armed = []        # faults that wait for a script or a reply
        self.delay_until = self.stall_until = 0.0
        self.delay = 0.0
        self.done = 0          # faults that happened

    def arm(self, fault, seconds):
        now = time.monotonic()
        if fault == "delay":
            self.delay_until, self.delay = now + seconds, seconds / 4
        elif fault == "stall":
            self.stall_until = now + seconds
        elif fault == "cut":
            for pair in list(self.pairs):
                pair.cut()
        elif fault in ("cut_reply", "half_reply", "half_request", "hold"):
            self.armed.append((fault, seconds))
            return
        else:
            raise ValueError(f"no such fault: {fault}")
        self.done += 1

    def take(self, *faults):
        for index, (fault, _) in enumerate(self.armed):
            if fault in faults:
                self.done += 1
                return self.armed.pop(index)
        return None

    async def wait(self):
        """What passes now waits as long as the link wants."""
        while (left := self.stall_until - time.monotonic()) > 0:
            await asyncio.sleep(left)
        if time.monotonic() < self.delay_until:
            await asyncio.sleep(random.uniform(0, self.delay))

    async def accept(self, reader, writer):
        pair = Pair(self, reader, writer)
        self.pairs.add(pair)
        try:
            await pair.run()
        finally:
            self.pairs.discard(pair)


class Pair:
    """One connection of the process, and its own to Redis."""

    def __init__(self, link, reader, writer):
        self._link = link
        self._reader, self._writer = reader, writer
        self._up_reader = self._up_writer = None
        self._splitter = RequestSplitter()
        self._mute = False  # its replies get lost; with the first one it ends

    def cut(self):
        for writer in (self._writer, self._up_writer):
            if writer:
                writer.transport.abort()

    async def run(self):
        try:
            self._up_reader, self._up_writer = await asyncio.open_connection(*self._link.upstream)
        except OSError:
            self.cut()
            return
        ways = [asyncio.ensure_future(way) for way in (self._requests(), self._replies())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.cut()

    async def _requests(self):
        while data := await self._reader.read(CHUNK):
            requests = self._splitter.feed(data)
            await self._link.wait()
            for request in requests:
                if not self._pass_request(request):
                    return
            await self._up_writer.drain()

    def _pass_request(self, request):
        """False: it was the connection's last."""
        fault = None
        if first_word(request) in ("EVALSHA", "EXEC") and not self._mute:
            fault = self._link.take("cut_reply", "half_request", "hold")
        if fault is None:
            self._up_writer.write(request)
            return True
        name, seconds = fault
        if name == "cut_reply":
            self._mute = True
            self._up_writer.write(request)
            return True
        if name == "half_request":
            self._up_writer.write(request[:len(request) // 2])
        elif first_word(request) == "EXEC":
            self._up_writer, kept = None, self._up_writer
            asyncio.get_running_loop().create_task(
                exec_late(self._link, self._up_reader, kept, request, seconds))
        else:
            asyncio.get_running_loop().create_task(run_late(self._link, request, seconds))
        return False

    async def _replies(self):
        while data := await self._up_reader.read(CHUNK):
            await self._link.wait()
            if self._mute:
                return
            if len(data) > 1 and self._link.take("half_reply"):
                self._writer.write(data[:len(data) // 2])
                await self._writer.drain()
                return
            self._writer.write(data)
            await self._writer.drain()


def in_words(reply):
    """The text that a reply begins with: "OK", "LOST", "NOSCRIPT"; "list" for a list of names."""
    words = [word for word in reply.decode(errors="replace").split() if word[0] not in "$*"]
    word = words[0].lstrip("+-:") if words else ""
    return word if word.isupper() else "list"


async def run_late(link, request, seconds):
    await asyncio.sleep(seconds)
    try:
        reader, writer = await asyncio.open_connection(*link.upstream)
        writer.write(request)
        reply = await asyncio.wait_for(reader.read(CHUNK), 5)
        print(json.dumps({"link": link.name, "late": in_words(reply)}), flush=True)
        writer.transport.abort()
    except (OSError, asyncio.TimeoutError):
        pass  # Redis is gone: it never arrives


async def exec_late(link, reader, writer, request, seconds):
    """Of a process that has long given up: it was queued, and what its connection watches is what
    keeps it from running."""
    try:
        await asyncio.sleep(seconds)
        await forget_answers(reader)
        writer.write(request)
        reply = await asyncio.wait_for(reader.read(CHUNK), 5)
        if reply:
            late = "NIL" if reply.startswith((b"*-1", b"_")) else \
                   "EXEC" if reply.startswith(b"*") else in_words(reply)
            print(json.dumps({"link": link.name, "late": late}), flush=True)
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        writer.transport.abort()


async def forget_answers(reader):
    """Those that came before."""
    while True:
        try:
            if not await asyncio.wait_for(reader.read(CHUNK), 0.05):
                return
        except asyncio.TimeoutError:
            return


async def read_commands(links):
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command = json.loads(line)
        links[command["link"]].arm(command["fault"], command.get("seconds", 1.0))
        if command.get("tell"):
            print(json.dumps({"armed": command["fault"]}), flush=True)


async def serve(upstream, ports):
    links = {name: Link(name, upstream) for name in ports}
    for name, port in ports.items():
        await asyncio.start_server(links[name].accept, "127.0.0.1", port)
    print(json.dumps({"ready": True}), flush=True)
    await read_commands(links)
    print(json.dumps({"done": {name: link.done for name, link in links.items()}}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--link", action="append", required=True)
    options = parser.parse_args()
    host, _, port = options.upstream.rpartition(":")
    links = dict(link.split("=") for link in options.link)
    asyncio.run(serve((host, int(port)), {name: int(port) for name, port in links.items()}))


if __name__ == "__main__":
    main()
