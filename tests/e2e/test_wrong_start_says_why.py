"""A wrong setting, a port in use, another P: one line that names it, and exit code 1."""

import os
import socket
import subprocess

import pytest

from harness import free_port
from waiting import BUILD, PATIENCE


@pytest.fixture(scope="module")
def environment(shared_stack, tmp_path_factory):
    """A good one: each case spoils it in one place."""
    return {**os.environ, **shared_stack.environment(),
            "TRUNKLINE_GATEWAY_LISTEN": f"127.0.0.1:{free_port()}",
            "TRUNKLINE_AUTH_LISTEN": f"127.0.0.1:{free_port()}",
            "TRUNKLINE_AUTH_KEYS": str(tmp_path_factory.mktemp("keys"))}


def last_words(process, environment, *arguments):
    """What it says besides information, when it must end with 1."""
    result = subprocess.run([f"{BUILD}/{process}", *arguments], env=environment, timeout=PATIENCE,
                            capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    return [line for line in output.splitlines() if " info " not in line]


@pytest.mark.parametrize("process, variable, value", [
    ("gateway", "TRUNKLINE_PARTITIONS", "none"),
    ("router", "TRUNKLINE_PARTITIONS", "0"),
    ("auth", "TRUNKLINE_PARTITIONS", "9999999"),
    ("gateway", "TRUNKLINE_GATEWAY_LISTEN", "nowhere"),
    ("gateway", "TRUNKLINE_GATEWAY_LISTEN", "127.0.0.1:99999"),
    ("gateway", "TRUNKLINE_GATEWAY_LISTEN", "256.1.1.1:8081"),
    ("auth", "TRUNKLINE_AUTH_LISTEN", "127.0.0.1"),
    ("auth", "TRUNKLINE_AUTH_KEYS", "/proc/nothing/here"),
    ("auth", "TRUNKLINE_TOKEN_TTL", "1h"),
    ("router", "TRUNKLINE_LEASE_MS", "-5"),
    ("gateway", "TRUNKLINE_RATE_LIMITS", "maybe"),
    ("gateway", "TRUNKLINE_CALLIE_OFFLINE", "keep"),
    ("gateway", "TRUNKLINE_REDIS", "http://127.0.0.1"),
    ("router", "TRUNKLINE_REDIS", "redis://127.0.0.1:port"),
    ("router", "TRUNKLINE_LOG", "loud"),
    ("gateway", "TRUNKLINE_TOKEN_SECRET_FILE", "/nowhere/secret"),
    ("auth", "TRUNKLINE_TOKEN_SECRET_FILE", "/nowhere/secret"),
    ("gateway", "TRUNKLINE_TOKEN_KEYS_FILE", "/nowhere/keys"),
    ("gateway", "TRUNKLINE_GATEWAY_TLS_LISTEN", "127.0.0.1:0"),  # without a certificate
    ("gateway", "TRUNKLINE_PROXY_PROTOCOL", "maybe"),
    ("auth", "TRUNKLINE_TOKEN_ALGORITHM", "RS512"),
    ("auth", "TRUNKLINE_TOKEN_KEY_DAYS", "-1"),
    ("gateway", "TRUNKLINE_API_KEYS", "backend:publish:short"),
    ("gateway", "TRUNKLINE_API_KEYS_FILE", "/nowhere/keys"),
])
def test_wrong_setting(environment, process, variable, value):
    lines = last_words(process, {**environment, variable: value})
    assert len(lines) == 1, lines
    assert variable.removesuffix("_LISTEN") in lines[0] or value in lines[0]


@pytest.mark.parametrize("process, variable", [
    ("gateway", "TRUNKLINE_GATEWAY_LISTEN"), ("auth", "TRUNKLINE_AUTH_LISTEN")])
def test_port_in_use(environment, process, variable):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        lines = last_words(process, {**environment, variable: address})
    assert len(lines) == 1, lines
    assert address in lines[0]


@pytest.mark.parametrize("process", ["gateway", "router", "auth"])
def test_another_number_of_partitions(environment, process):
    lines = last_words(process, {**environment, "TRUNKLINE_PARTITIONS": "17"})
    assert len(lines) == 1, lines
    assert "17" in lines[0] and "16" in lines[0]


@pytest.mark.parametrize("process", ["gateway", "router", "auth"])
def test_another_version(environment, shared_stack, process):
    shared_stack.redis.command("HSET", "other:deployment", "partitions", "16",
                               "hash_key", "00" * 16, "frame_version", "999", "created", "1")
    lines = last_words(process, {**environment, "TRUNKLINE_PREFIX": "other:"})
    assert len(lines) == 1, lines
    assert "999" in lines[0]


@pytest.mark.parametrize("process", ["gateway", "router", "auth"])
def test_name_of_another_process(environment, process):
    lines = last_words(process, {**environment, "TRUNKLINE_NAME": "gateway-1"})
    assert len(lines) == 1, lines
    assert "gateway-1" in lines[0] and "TRUNKLINE_NAME" in lines[0]


@pytest.mark.parametrize("process", ["gateway", "router", "auth"])
def test_unknown_argument(environment, process):
    assert any("--nonsense" in line for line in last_words(process, environment, "--nonsense"))


@pytest.mark.parametrize("process", ["gateway", "router", "auth"])
def test_help_lists_the_settings(environment, process):
    result = subprocess.run([f"{BUILD}/{process}", "--help"], env=environment, timeout=PATIENCE,
                            capture_output=True, text=True, check=True)
    assert "TRUNKLINE_REDIS=redis://127.0.0.1:6379" in result.stdout
