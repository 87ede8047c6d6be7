#!/usr/bin/python3
"""
Seeded faults against a whole stack under traffic; the journals of its clients are judged and its
Redis is inspected after each batch. Exit 1 when anything was lost, doubled, out of order, or left
over.

    tests/faults/drill.py [--seed 1] [--faults 200] [--batch 20] [--long-stops 0] [--keep DIRECTORY]

The same seed gives the same faults in the same order to the same processes; what happens in between
is up to the scheduler.
"""

import argparse
import asyncio
import collections
import functools
import json
import os
import random
import shutil
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(FOLDER), "e2e"))

from callie import callie  # noqa: E402
from inspection import (announcements, connections_are, homes_of_mail, inspect,  # noqa: E402
                        no_mail_but_of, take_snapshot, waiting_in_mailboxes)
from journal import Client, Recorder  # noqa: E402
from speakers import SPEAKERS  # noqa: E402
from resp import Redis  # noqa: E402
from judge import Journal, figures, judge, wrong_presence  # noqa: E402
from stack import DrillStack, exit_status_of, go_on, pause, resident_kb  # noqa: E402
from waiting import SLOWNESS, wait_until  # noqa: E402

ROUTERS, GATEWAYS, PARTITIONS = 3, 3, 8
LEASE_S, DEATH_S, STALL_S = 1.0 * SLOWNESS, 2.5 * SLOWNESS, 1.0 * SLOWNESS
SETTINGS = {
    "partitions": PARTITIONS, "lease_ms": int(LEASE_S * 1000), "renew_ms": int(LEASE_S * 200),
    "gateway_death_ms": int(DEATH_S * 1000), "heartbeat_ms": int(300 * SLOWNESS),
    "presence_grace_ms": 300, "stall_ms": int(STALL_S * 1000), "token_ttl": 86400,
    "window_messages": 16,
}
SETTLE_WITHIN = 45.0 * SLOWNESS
STARTED = time.monotonic()
TOPICS = ["drill.one", "drill.two"]
# Members by the first letters of their users, of all protocols; the last one, of callie, makes it.
GROUPS = ["ackolmn", "bcfkopqrn"]
LONG_STOP_S = 30.0

# name: (weight, method of Drill, its arguments, the longest it lasts)
KINDS = {
    "kill router": (6, "kill", ("routers",), 2.0),
    "kill gateway": (6, "kill", ("gateways",), 2.0 * DEATH_S),
    "kill auth": (1, "kill", ("auths",), 1.0),
    "kill redis": (2, "kill", ("redises",), 1.0),
    "stop router": (8, "stop", ("routers",), 2 * LEASE_S),
    "stop gateway": (6, "stop", ("gateways",), 2 * DEATH_S),
    "stop auth": (1, "stop", ("auths",), 1.0),
    "stop redis": (3, "stop", ("redises",), 2 * LEASE_S),
    "end router": (2, "end", ("routers",), 1.0),
    "end gateway": (2, "end", ("gateways",), 1.0),
    "router: replies late": (3, "link", ("routers", "delay"), 1.0),
    "router: link stands still": (3, "link", ("routers", "stall"), 2 * LEASE_S),
    "router: reply lost": (8, "link", ("routers", "cut_reply"), 0),
    "router: half a reply": (3, "link", ("routers", "half_reply"), 0),
    "router: half a request": (3, "link", ("routers", "half_request"), 0),
    "router: script runs late": (8, "link", ("routers", "hold"), 2 * LEASE_S),
    "router: all cut": (3, "link", ("routers", "cut"), 0),
    "gateway: replies late": (3, "link", ("gateways", "delay"), 1.0),
    "gateway: link stands still": (3, "link", ("gateways", "stall"), DEATH_S),
    "gateway: reply lost": (6, "link", ("gateways", "cut_reply"), 0),
    "gateway: half a reply": (3, "link", ("gateways", "half_reply"), 0),
    "gateway: half a request": (3, "link", ("gateways", "half_request"), 0),
    "gateway: script runs late": (6, "link", ("gateways", "hold"), 2 * LEASE_S),
    "gateway: all cut": (3, "link", ("gateways", "cut"), 0),
    "client closes": (4, "leave", ("close",), 0),
    "client aborts": (6, "leave", ("abort",), 0),
    "client closes one half": (4, "leave", ("half_close",), 0),
    "client stops reading": (4, "leave", ("stall",), 2 * STALL_S),
    "client stays away": (3, "stay_away", (), 0),
}

MESSAGE_ID = rb'"([^"|]+:\d+)\|\d+\|'  # in bodies: journal.py, text_of

INSTEAD = "client aborts"

Fault = collections.namedtuple("Fault", "number kind who seconds wait")


def plan(seed, count):
    """The faults of a seed."""
    rnd = random.Random(seed)
    names, weights = list(KINDS), [weight for weight, *_ in KINDS.values()]
    return [Fault(number, rnd.choices(names, weights)[0], rnd.randrange(1 << 16),
                  rnd.random(), rnd.uniform(0.02, 0.3)) for number in range(count)]


class Drill:
    def __init__(self, options):
        self.options = options
        self.recorder = Recorder()
        self.stack = DrillStack(ROUTERS, GATEWAYS, **SETTINGS)
        self.clients = []
        self.findings = []
        self.happened = collections.Counter()
        self.links_done = 0  # faults of the proxy that met something
        self.memory = []     # of each batch: {process: kB}
        self._announced = {}  # partition -> {gateway: its announcement}, as of the last rest
        self._busy = set()   # processes with a fault on them
        self._recoveries = set()
        self._over = False

    # ---- the stack and its clients -----------------------------------------------------------

    def start(self):
        self.stack.start()
        self.groups = {"routers": self.stack.routers, "gateways": self.stack.gateways,
                       "auths": [self.stack.auth], "redises": [self.stack.redis]}
        users = self.stack.users(*"abcdefghij")
        others = self.stack.users(*"klmnopqr")  # two of each other protocol
        # (device, its user, whether it acknowledges): two users have two devices.
        devices = [(user, user, index % 3 == 2) for index, user in enumerate(users)]
        devices += [(f"{users[0]}'", users[0], False), (f"{users[2]}'", users[2], False)]
        addresses = [gateway.address for gateway in self.stack.gateways]
        groups = self.make_groups(users + others)
        for index, (name, user, acknowledges) in enumerate(devices):
            self.clients.append(Client(
                self.recorder, name, user, self.stack.token(user), addresses,
                seed=f"{self.options.seed}/{name}", acknowledges=acknowledges,
                peers=users + others, publishes=TOPICS, pace=0.04 * SLOWNESS,
                topics=TOPICS[index % 3:][:1], follows=users if index in (1, 5) else ()))
        for index, user in enumerate(others):
            self.clients.append(SPEAKERS[index % len(SPEAKERS)](
                self.recorder, user, user, self.stack.token(user), addresses,
                seed=f"{self.options.seed}/{user}", peers=users + others, pace=0.15 * SLOWNESS,
                groups=[group for group, members in groups.items() if user in members]))

    def make_groups(self, users):
        """group -> its members, before anything happens"""
        groups = {}
        for letters in GROUPS:
            *members, owner = [next(user for user in users if user[0] == letter)
                               for letter in letters]
            client = callie(self.stack, owner)
            id = client.done("CREATE_GROUP", name=letters, members=members)["groupID"]
            client.close()
            groups[f"group:{id}"] = [*members, owner]
        for group, members in groups.items():
            self.recorder.write("group", name=group, members=members)
        return groups

    async def supervise(self):
        """Starts again what found no Redis; anything else that ends by itself is a crash."""
        while not self._over:
            for process in self.stack.processes:
                if process.expected_alive and not process.is_alive():
                    process.expected_alive = False
                    last = (process.log().splitlines() or [""])[-1]
                    if exit_status_of(process) == 1 and "TRUNKLINE_REDIS" in last:
                        self.later(0.3, process, self.bring_back(process))
                    else:
                        self.findings.append(("crash", f"{process.name} ended with "
                                              f"{exit_status_of(process)}: {last}"))
            await asyncio.sleep(0.1)

    # ---- faults --------------------------------------------------------------------------------

    def later(self, seconds, process, action):
        """action, then; until then the process is left alone."""
        async def recover():
            try:
                await asyncio.sleep(seconds)
                await action
            finally:
                self._busy.discard(process)

        self._busy.add(process)
        task = asyncio.create_task(recover())
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def bring_back(self, process):
        process.start()

    async def let_go(self, process):
        go_on(process)

    async def await_end(self, process):
        await asyncio.to_thread(process.await_exit)
        process.start()

    def _pick(self, group, fault):
        """A process to do it to: the next one that is not busy."""
        processes = self.groups[group]
        for offset in range(len(processes)):
            process = processes[(fault.who + offset) % len(processes)]
            if process not in self._busy and process.is_alive():
                return process
        return None

    def kill(self, fault, longest, group):
        process = self._pick(group, fault)
        if process:
            process.kill()
            self.later(0.05 + fault.seconds * longest, process, self.bring_back(process))
        return process

    def stop(self, fault, longest, group):
        process = self._pick(group, fault)
        if process:
            pause(process)
            self.later(0.05 + fault.seconds * longest, process, self.let_go(process))
        return process

    def end(self, fault, longest, group):
        process = self._pick(group, fault)
        if process:
            process.terminate()
            self.later(0, process, self.await_end(process))
        return process

    def link(self, fault, longest, group, kind):
        processes = self.groups[group]
        process = processes[fault.who % len(processes)]
        self.stack.proxy.fault(process.name, kind, 0.05 + fault.seconds * longest)
        return process

    def leave(self, fault, longest, kind):
        client = self.clients[fault.who % len(self.clients)]
        client.leave(kind, 0.1 + fault.seconds * longest)
        return client

    def stay_away(self, fault, longest):
        """Until a quarter of the clients are away: then the first of them comes back."""
        away = [client for client in self.clients if client.away]
        client = self.clients[fault.who % len(self.clients)]
        if len(away) >= len(self.clients) // 4:
            client = away[0]
        client.away = not client.away
        return client

    def do(self, fault):
        kind = fault.kind
        whom = self._do(kind, fault)
        if whom is None:  # something is done to all of them already
            kind = INSTEAD
            whom = self._do(kind, fault)
        self.happened[kind] += 1
        self.recorder.write("fault", number=fault.number, what=kind, whom=whom.name)

    def _do(self, kind, fault):
        _, method, arguments, longest = KINDS[kind]
        return getattr(self, method)(fault, longest, *arguments)

    # ---- rest -----------------------------------------------------------------------------------

    async def settle(self):
        """
        No more sending, no more faults: what must be true then. Returns how long it took until
        gateways were ready, clients had their answers, and the keys were at rest.
        """
        for client in self.clients:
            client.sending = False
        while self._recoveries:
            await asyncio.wait(self._recoveries)
        times = [time.monotonic()]
        try:
            await self._until(lambda: not self._busy and all(
                process.is_alive() for process in self.stack.processes), "all processes live")
            await asyncio.to_thread(self.await_ready)
            times.append(time.monotonic())
            await self._until(lambda: all(client.is_settled() for client in self.clients),
                              "all clients are settled")
        except AssertionError as problem:
            self.findings.append(("unsettled", str(problem)))
            self.findings += [("unsettled", client.state()) for client in self.clients
                              if not client.is_settled()]
        times.append(time.monotonic())
        await self.inspect()
        times.append(time.monotonic())
        quiet = {"event": "quiet", "away": sorted(self.away_users()),
                 **await asyncio.to_thread(self.look_at_mail)}
        try:
            await self._until(lambda: not any(wrong_presence(
                Journal([*self.recorder.events, quiet]))), "followers know who is there")
        except AssertionError:
            pass  # the judge will say the same
        self.recorder.write(**quiet)
        self.memory.append({process.name: resident_kb(process)
                            for process in self.stack.processes})
        return " + ".join(f"{later - before:.1f}" for before, later in zip(times, times[1:]))

    def await_ready(self):
        for gateway in self.stack.gateways:
            wait_until(gateway.is_ready, f"{gateway.name} is ready", SETTLE_WITHIN)

    async def _until(self, condition, what):
        deadline = time.monotonic() + SETTLE_WITHIN
        while not condition():
            assert time.monotonic() < deadline, f"not within {SETTLE_WITHIN:g} s: {what}"
            await asyncio.sleep(0.05)

    def away_users(self):
        here = {client.user for client in self.clients if not client.away}
        return {client.user for client in self.clients} - here

    async def inspect(self):
        away = {user.encode() for user in self.away_users()}
        there = collections.Counter(client.user.encode() for client in self.clients
                                    if client.is_connected())
        problems = await asyncio.to_thread(functools.partial(
            inspect, self.stack.redis.url, SETTLE_WITHIN,
            more=[no_mail_but_of(away), connections_are(there)]))
        self.findings += [("inspect", problem) for problem in problems]

    def look_at_mail(self):
        """What waits for those away, and which gateways no partition has buried meanwhile."""
        redis = Redis(self.stack.redis.url)
        snapshot = take_snapshot(redis)
        redis.close()
        before, self._announced = self._announced, announcements(snapshot)
        lasting = {index: self.ports_of(gateways.items() & before.get(index, {}).items())
                   for index, gateways in self._announced.items()}
        everywhere = set.intersection(*map(set, lasting.values()))
        return {"unbroken": sorted(everywhere),
                "waiting": waiting_in_mailboxes(snapshot, MESSAGE_ID),
                "lasting": {user: lasting.get(index, [])
                            for user, index in homes_of_mail(snapshot).items()}}

    def ports_of(self, announced):
        names = {name for name, _ in announced}
        return [int(gateway.address.rpartition(":")[2]) for gateway in self.stack.gateways
                if gateway.name in names]

    def judge(self):
        self.findings += judge(self.recorder.events)
        for client in self.clients:
            self.findings += [("client", f"{client.name}: {problem}")
                              for problem in client.problems]
            client.problems = []
        try:
            self.stack.check()
        except AssertionError as problem:
            self.findings.append(("crash", str(problem)))

    # ---- all of it --------------------------------------------------------------------------

    async def run(self):
        for client in self.clients:
            client.start()
        supervisor = asyncio.create_task(self.supervise())
        await self.settle()  # the first figures of memory
        faults = plan(self.options.seed, self.options.faults)
        for first in range(0, len(faults), self.options.batch):
            await self.batch(faults[first:first + self.options.batch])
            if self.findings:
                break
        if not self.findings:
            await self.all_come_back()
        self._over = True
        await supervisor
        for client in self.clients:
            await client.stop()

    async def batch(self, faults):
        for client in self.clients:
            client.sending = True
        long_stop = self.options.long_stops and not faults[0].number % (5 * self.options.batch)
        await asyncio.sleep(0.5)
        for fault in faults:
            self.do(fault)
            await asyncio.sleep(fault.wait * SLOWNESS)
        if long_stop:
            self.options.long_stops -= 1
            self.stop_for_long(faults[0])
        settled = await self.settle()
        self.judge()
        last = faults[-1].number + 1
        say(f"{last} faults, {len(self.recorder.events)} events, {len(self.findings)} findings; "
            f"at rest after {settled} s")

    def stop_for_long(self, fault):
        process = self._pick("routers" if self.options.long_stops % 2 else "gateways", fault)
        if process:
            pause(process)
            self.later(LONG_STOP_S, process, self.let_go(process))
            self.happened["stop for 30 s"] += 1
            self.recorder.write("fault", number=-1, what="stop for 30 s", whom=process.name)

    async def all_come_back(self):
        """Nobody is away any more: what waited for them is there."""
        for client in self.clients:
            client.away = False
        await self.settle()
        self.judge()

    def close(self):
        if self.findings or self.options.keep:
            self.keep(self.options.keep or f"/tmp/drill-{self.options.seed}-{os.getpid()}")
        try:
            self.stack.close()
        except AssertionError as problem:
            self.findings.append(("end", str(problem)))
        links = self.stack.proxy.close()
        self.links_done = sum(links.values())

    def keep(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.recorder.save(os.path.join(directory, "journal.jsonl"))
        for process in self.stack.processes:
            shutil.copy(os.path.join(self.stack.directory, f"{process.name}.log"), directory)
        say(f"journal and logs: {directory}")

    def report(self):
        say(f"seed {self.options.seed}: {sum(self.happened[kind] for kind in KINDS)} faults")
        for kind, count in sorted(self.happened.items()):
            say(f"  {count:5} {kind}")
        say(f"  {self.links_done} of those on links took effect; what ran late was answered "
            f"{dict(self.stack.proxy.late)}")
        say(json.dumps(figures(self.recorder.events)))
        for name, before in self.memory[0].items():
            most = max(batch[name] for batch in self.memory)
            say(f"  {name:10} RSS {before:7} kB before, {most:7} most, "
                f"{self.memory[-1][name]:7} after")
        counted = collections.Counter(kind for kind, _ in self.findings)
        say("findings: " + (json.dumps(counted) if counted else "none"))
        for kind, sentence in self.findings[:40]:
            say(f"  {kind}: {sentence}")


def say(text):
    print(f"{time.monotonic() - STARTED:6.1f} {text}", flush=True)


def run(options):
    """Returns the findings, after a report."""
    drill = Drill(options)
    try:
        drill.start()
        asyncio.run(drill.run())
    finally:
        drill.close()
    drill.report()
    return drill.findings


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--long-stops", type=int, default=0, help="stops of 30 s among them")
    parser.add_argument("--keep", help="where journal and logs go (always kept on findings)")
    return 1 if run(parser.parse_args(arguments)) else 0


if __name__ == "__main__":
    sys.exit(main())
