"""Waiting for conditions: the only way a scenario lets time pass."""

import os
import time

BUILD = os.path.abspath(os.environ.get("TRUNKLINE_BUILD", "build/release"))
# How much slower than a release build on an idle machine things may be.
SLOWNESS = float(os.environ.get("TRUNKLINE_TEST_SLOWNESS", 4 if "asan" in BUILD else 1))
PATIENCE = 15 * SLOWNESS  # seconds for what should take milliseconds


def wait_until(condition, what, timeout=PATIENCE):
    """
    Returns the first true value of condition(); fails when none comes in time, with what it was, a
    text or what returns one.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, (
            f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)
