"""Every example of the protocol references happens as it is printed there (examples.py)."""

import glob
import os

import pytest

from examples import Scene, scenes
from harness import ENDPOINTS, ROOT

PROTOCOLS = [name for name in ENDPOINTS if name != "telegram"]
REFERENCES = sorted(glob.glob(os.path.join(ROOT, "gateway/protocols/*.md")))


def all_scenes():
    for path in REFERENCES:
        with open(path, encoding="utf-8") as file:
            for heading, steps in scenes(file.read()):
                yield os.path.basename(path)[:-len(".md")], heading, steps


@pytest.fixture(scope="module")
def examples_stack(module_stack):
    return module_stack(auth=False)


@pytest.mark.parametrize("number, protocol, heading, steps",
                         [(number, *scene) for number, scene in enumerate(all_scenes(), 1)],
                         ids=lambda value: value if isinstance(value, str) else "")
def test_it_happens_as_printed(examples_stack, number, protocol, heading, steps):
    Scene(examples_stack, protocol, number, steps).play()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_has_a_reference_with_examples(protocol):
    assert any(name == protocol for name, _, _ in all_scenes())
