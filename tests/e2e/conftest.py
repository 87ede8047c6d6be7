from contextlib import ExitStack

import pytest

import client
from harness import Stack


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:websockets:DeprecationWarning")


def pytest_unconfigure():
    client.finish()


@pytest.fixture(scope="session")
def shared_stack():
    stack = Stack().start()
    yield stack
    stack.close()


@pytest.fixture
def stack(shared_stack):
    """A deployment that all tests share: leave it as it was, use names of your own."""
    yield shared_stack
    shared_stack.abandon_clients()
    shared_stack.check()


def stacks_of_their_own():
    """Yields a function that makes deployments with settings of their own; ends them."""
    with ExitStack() as ends:

        def make(**arguments):
            stack = Stack(**arguments)
            ends.callback(stack.close)
            return stack.start()

        yield make


@pytest.fixture
def new_stack():
    """Makes a deployment for one test, which may do to it what it likes."""
    yield from stacks_of_their_own()


@pytest.fixture(scope="module")
def module_stack():
    """Makes a deployment for the tests of one file."""
    yield from stacks_of_their_own()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """Shows the last lines of every log beside a failure."""
    report = (yield).get_result()
    if report.failed:
        for stack in Stack.living:
            for process in stack.processes:
                last = "\n".join(process.log().splitlines()[-60:])
                report.sections.append((f"log of {process.name}", last))
