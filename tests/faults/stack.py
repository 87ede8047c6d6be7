"""
A whole deployment under a drill: several routers and gateways, each behind a link of the proxy, and
a Redis that fsyncs.
"""

import collections
import json
import os
import signal
import subprocess
import sys

from harness import Auth, Gateway, Redis, Router, Stack, free_port

FOLDER = os.path.dirname(os.path.abspath(__file__))


class DurableRedis(Redis):
    """Nothing that it has acknowledged may be gone after kill -9."""

    def __init__(self, directory):
        super().__init__(directory)
        self._command += ["--appendfsync", "always"]


class Proxy:
    """proxy.py in a process of its own."""

    def __init__(self, upstream, links):
        command = [sys.executable, os.path.join(FOLDER, "proxy.py"), "--upstream", upstream]
        for name, port in links.items():
            command += ["--link", f"{name}={port}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)
        assert json.loads(self._process.stdout.readline())["ready"]
        self.late = {}  # what Redis answered to scripts that ran late, and how often

    def fault(self, link, fault, seconds):
        command = {"link": link, "fault": fault, "seconds": seconds}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def close(self):
        """Returns how many faults happened on each link."""
        output, _ = self._process.communicate(timeout=10)
        reports = [json.loads(line) for line in output.splitlines()]
        self.late = collections.Counter(report["late"] for report in reports if "late" in report)
        return next(report["done"] for report in reports if "done" in report)


class DrillStack(Stack):
    def __init__(self, routers, gateways, **settings):
        super().__init__(gateways=0, **settings)
        self.redis = DurableRedis(self.directory)
        names = {"router": [f"router-{n + 1}" for n in range(routers)],
                 "gateway": [f"gateway-{n + 1}" for n in range(gateways)]}
        self._links = {name: free_port() for name in [*names["router"], *names["gateway"], "auth"]}
        self.auth = Auth(self.directory, self._environment_of("auth"))
        self.routers = [Router(name, self.directory, self._environment_of(name))
                        for name in names["router"]]
        self.gateways = [Gateway(name, self.directory, self._environment_of(name))
                         for name in names["gateway"]]
        self.router = self.routers[0]
        self.processes = [*self.gateways, *self.routers, self.auth, self.redis]
        self.proxy = None

    def _environment_of(self, link):
        return {**self.environment(), "TRUNKLINE_REDIS": f"redis://127.0.0.1:{self._links[link]}"}

    def start(self):
        self.proxy = Proxy(f"127.0.0.1:{self.redis.port}", self._links)
        return super().start()


def pid_of(process):
    return process._process.pid


def exit_status_of(process):
    return process._process.poll()


def pause(process):
    os.kill(pid_of(process), signal.SIGSTOP)


def go_on(process):
    os.kill(pid_of(process), signal.SIGCONT)


def resident_kb(process):
    """RSS now; 0 of one that does not live."""
    try:
        with open(f"/proc/{pid_of(process)}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0
