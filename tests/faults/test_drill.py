"""A short drill, whose faults are the same in each run; `make faults` is the long one."""

import argparse

from drill import run
from waiting import BUILD


def test_faults_lose_nothing(capsys):
    with capsys.disabled():
        print()
        findings = run(argparse.Namespace(
            seed=3, faults=60 if "asan" in BUILD else 200, batch=20, long_stops=0, keep=None))
    assert findings == []
