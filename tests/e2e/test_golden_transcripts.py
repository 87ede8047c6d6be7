"""What goes over the wire of each protocol, to the byte, whichever gateways its users come by."""

import os

import pytest

from golden import Play
from harness import ENDPOINTS, ROOT

PROTOCOLS = [name for name in ENDPOINTS if name != "telegram"]
MEETING = """
set open_identity=on
alice opens /simple?username=alice at 1
alice< {"type":"user_connected","username":"alice","timestamp":<time alice>}
alice> {"type":"send_message","payload_id":"1","message":"hello"}
alice< {"type":"message_sent","username":"alice","timestamp":<time hello>,"message":"hello"}
alice< {"type":"reply","payload_id":"1","error":null}
alice closes 1000
"""


@pytest.mark.parametrize("gateways", [(1, 2), (2, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_is_played_as_written(protocol, gateways):
    with open(os.path.join(ROOT, "tests/e2e/golden", f"{protocol}.txt"), encoding="utf-8") as file:
        Play(file.read(), gateways).run()


@pytest.mark.parametrize("written, otherwise, problem", [
    ('"error":null}', '"error": null}', "came:"),
    ('"username":"alice","timestamp":<time hello>', '"timestamp":<time hello>,"username":"alice"',
     "came:"),
    ('"timestamp":<time hello>', '"timestamp":"<instant hello>"', "came:"),
    ('alice< {"type":"reply","payload_id":"1","error":null}\n', "", "unexpectedly"),
    ("alice closes 1000", "alice closes 1001", "with 1000, not 1001"),
    ("username=alice at 1", "username=alice at 1: 403", "is not refused"),
    ("username=alice at 1", "username= at 1", "refused with 401"),
], ids=range(1, 8))
def test_nothing_else_will_do(written, otherwise, problem):
    with pytest.raises(AssertionError, match=problem):
        Play(MEETING.replace(written, otherwise)).run()
