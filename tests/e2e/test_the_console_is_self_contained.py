"""The console at /: served when it is on, needs nothing from elsewhere, and works in a browser."""

import json
import re
import shutil
import subprocess
import urllib.request

import pytest

from client import Client
from harness import free_port, http
from waiting import PATIENCE, wait_until

FILES = {"/": "text/html", "/console.css": "text/css", "/console.js": "text/javascript"}


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False, gateways=1, console="on")


def fetch(stack, path):
    with urllib.request.urlopen(f"http://{stack.gateways[0].address}{path}") as answer:
        return answer.headers, answer.read().decode()


@pytest.mark.parametrize("path, kind", FILES.items())
def test_its_files(here, path, kind):
    headers, text = fetch(here, path)
    assert headers["Content-Type"].startswith(kind)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"https?://|//[a-z]+\.", text), "something comes from elsewhere"
    assert not re.search(r"<style|style=|onclick|<script>", text), "something is inline"


def test_all_that_the_page_names_is_there(here):
    _, page = fetch(here, "/")
    for name in re.findall(r'(?:src|href)="([^":]+)"', page):
        assert f"/{name}" in FILES


def test_it_is_off_unless_it_is_on(stack):
    for path in FILES:
        assert http("GET", f"http://{stack.gateways[0].address}{path}")[0] == 404


class Browser:
    """A headless Chromium with one page, driven by its own protocol."""

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
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
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


@pytest.mark.skipif(not shutil.which("chromium"), reason="no browser here")
def test_a_person_connects_and_sees_frames(here, tmp_path):
    browser = Browser(tmp_path)
    try:
        browser.call("Runtime.enable")
        browser.call("Log.enable")
        browser.open(f"http://{here.gateways[0].address}/")
        alice, = here.users("alice")
        browser.run(f"""
            document.getElementById("token").value = {json.dumps(here.token(alice))};
            document.getElementById("token").dispatchEvent(new Event("input"));
            document.getElementById("toggle").click();""")
        assert browser.run("document.getElementById('user').value") == alice
        log = "document.getElementById('log').textContent"
        wait_until(lambda: "protocol_version" in browser.run(log), "the welcome is shown")
        browser.run("""
            document.getElementById("message").value =
                '{"type":"Ping","data":{"timestamp":424242}}';
            document.getElementById("submit").click();""")
        wait_until(lambda: browser.run(log).count("424242") == 2, "the answer is shown")
        browser.run("document.getElementById('toggle').click()")
        wait_until(lambda: "closed with 1000" in browser.run(log), "the end is shown")
        browser.run("document.getElementById('token').value = 'wrong';"
                    "document.getElementById('toggle').click()")
        wait_until(lambda: "refused" in browser.run(log), "the refusal is shown")
        assert len(browser.complaints()) == 1  # of the network, about the refusal
    finally:
        browser.close()
