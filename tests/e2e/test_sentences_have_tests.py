"""Each sentence of the protocols' sources and decisions names the tests that stand for it."""

import pytest

from sentences import PROTOCOLS, problems_of


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_named_tests_exist(protocol):
    assert not list(problems_of(protocol))
