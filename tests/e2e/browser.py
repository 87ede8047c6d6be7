"""A headless Chromium with one page, driven by its own protocol."""

import json
import shutil
import subprocess

import pytest

from client import Client
from harness import free_port, http
from waiting import PATIENCE, wait_until

needs_browser = pytest.mark.skipif(not shutil.which("chromium"),
                                   reason="no browser here; make browser installs one")


class Browser:
    def __init__(self, directory):
        self.port = free_port()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "chromium", "--headless", "--no-sandbox",
             "--disable-gpu", f"--remote-debugging-port={self.port}",
             f"--user-data-dir={directory}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pages = wait_until(lambda: http("GET", f"http://127.0.0.1:{self.port}/json")[1] or None,
                           "the browser answers", 2 * PATIENCE)
        self._page = Client(next(page["webSocketDebuggerUrl"] for page in pages
                                 if page["type"] == "page"))
        self._last = 0

    def call(self, method, **parameters):
        self._last += 1
        number = self._last
        self._page.send_text(json.dumps({"id": number, "method": method, "params": parameters}))
        return self._page.take_where(lambda message: message.get("id") == number, method)["result"]

    def run(self, script):
        """The value of an expression; of a promise, when it is kept."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True,
                           awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url):
        self.call("Page.navigate", url=url)
        wait_until(lambda: self.run("document.readyState") == "complete", "the page is loaded")

    def complaints(self):
        return [message["params"] for message in self._page.arrived
                if message.get("method") == "Runtime.exceptionThrown" or
                message.get("method") == "Log.entryAdded" and
                message["params"]["entry"]["level"] == "error"]

    def close(self):
        self._page.abandon()
        self._process.kill()
        self._process.wait()
