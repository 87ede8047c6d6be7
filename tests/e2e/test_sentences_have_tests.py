"""Each sentence of the protocols' sources and decisions names the tests that stand for it."""

import glob
import os

import pytest

from sentences import HERE, problems_of

WRITTEN = sorted(os.path.basename(path)[:-len(".md")]
                 for path in glob.glob(os.path.join(HERE, "sentences", "*.md")))


@pytest.mark.parametrize("protocol", WRITTEN)
def test_named_tests_exist(protocol):
    assert not list(problems_of(protocol))
