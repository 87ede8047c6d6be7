#!/usr/bin/python3
"""
Which test stands for which sentence of the protocols: tests/e2e/sentences/<protocol>.md has a row

    | a sentence of the source or of the decisions, in short | `test_file.py::test_name` `test_file.c::test_name` |

for each; more than one test may be named. Files are of tests/e2e, tests/faults or tests/unit; `reference: heading`
is the example under that heading of gateway/protocols/<protocol>.md, which is played. This prints them
all, and fails when a named test does not exist, or a row names none.

    sentences.py [PROTOCOL...]
"""

import functools
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROTOCOLS = ("messaging", "chat", "realtime", "simple", "callie")
ROW = re.compile(r"^\|(?P<sentence>.+)\|(?P<tests>[^|]*)\|$")
NAME = re.compile(r"`([^`]+)`")


@functools.cache
def text_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def rows_of(protocol):
    """(sentence, tests) of each row of the tables."""
    for line in text_of(os.path.join(HERE, "sentences", f"{protocol}.md")).splitlines():
        row = ROW.match(line.strip())
        if row and not set(line) <= set("|- :") and row["tests"].strip() != "test":
            yield row["sentence"].strip(), NAME.findall(row["tests"])


def exists(protocol, test):
    if test.startswith("reference: "):
        reference = text_of(os.path.join(ROOT, "gateway/protocols", f"{protocol}.md"))
        section = re.search(rf"^#+ {re.escape(test[len('reference: '):])}\n(.*?)(?=^#|\Z)",
                            reference, re.S | re.M)
        return section is not None and "<!-- example: " in section[1]
    file, _, name = test.partition("::")
    found = [text for text in map(text_of, glob.glob(os.path.join(ROOT, "tests/*", file))) if text]
    pattern = (rf"^\s*def {re.escape(name)}\(" if file.endswith(".py") else
               rf"^static void {re.escape(name)}\(void \*\*state\)")
    return any(re.search(pattern, text, re.M) for text in found)


def problems_of(protocol):
    rows = list(rows_of(protocol))
    if not rows:
        yield f"{protocol}: no sentences"
    for sentence, tests in rows:
        if not tests:
            yield f"{protocol}: no test: {sentence}"
        for test in tests:
            if not exists(protocol, test):
                yield f"{protocol}: there is no {test}: {sentence}"


def main(protocols):
    problems = []
    for protocol in protocols or PROTOCOLS:
        rows = list(rows_of(protocol))
        print(f"\n{protocol}: {len(rows)} sentences, "
              f"{len({test for _, tests in rows for test in tests})} tests")
        for sentence, tests in rows:
            print(f"  {sentence}\n      {', '.join(tests)}")
        problems += problems_of(protocol)
    print("".join(f"\n{problem}" for problem in problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
