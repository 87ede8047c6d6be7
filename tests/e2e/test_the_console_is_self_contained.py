"""The console at /: served when it is on, needs nothing from elsewhere, and works in a browser."""

import json
import re
import urllib.request

import pytest

from browser import Browser, needs_browser
from harness import http
from waiting import wait_until

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


@needs_browser
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
