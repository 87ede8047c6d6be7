"""Every curl of docs/api.md answers what is printed behind it; the OpenAPI file names the same paths."""

import json
import os
import re
import subprocess

import pytest

from api import KEYS, SECRETS
from examples import fits
from harness import ROOT
from waiting import PATIENCE

EXAMPLE = re.compile(r"```bash\n(.*?)```\n```json\n(.*?)```", re.S)


def text_of(name):
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
        return file.read()


EXAMPLES = EXAMPLE.findall(text_of("api.md"))


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False, api_keys=KEYS)


@pytest.mark.parametrize("command, answer", EXAMPLES,
                         ids=[re.search(r"/api/v1/(\w+)", command)[1] for command, _ in EXAMPLES])
def test_it_answers_as_printed(here, command, answer):
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, check=True, timeout=PATIENCE, text=True,
        env={**os.environ, "KEY": SECRETS["admin"],
             "GATEWAY": f"http://{here.gateways[0].address}"})
    assert fits(json.loads(answer), json.loads(result.stdout)), result.stdout


def paths_in(text):
    return set(re.findall(r"/api/v1/(\w+)", text))


def test_all_are_described():
    with open(os.path.join(ROOT, "gateway/api/backend.c"), encoding="utf-8") as file:
        served = paths_in(file.read())
    assert len(served) == 7
    assert paths_in("".join(command for command, _ in EXAMPLES)) == served
    assert paths_in(text_of("openapi.yaml")) == served


def test_the_description_is_valid():
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load(text_of("openapi.yaml"))
    assert document["openapi"].startswith("3.")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in ("get", "post"), path
            assert operation["summary"] and "200" in operation["responses"], path
    names = set(re.findall(r"#/components/(\w+/\w+)", text_of("openapi.yaml")))
    there = {f"{kind}/{name}" for kind, group in document["components"].items() for name in group}
    assert names <= there, names - there
