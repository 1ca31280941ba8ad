"""`llmpi-device take_turns`."""

import sys

from llmpi.device.measure import turns
from llmpi.device.records import TurnsRequest
from llmpi.engine.progress import to_stderr
from llmpi.engine.records import Turns


def take_turns(request: TurnsRequest) -> Turns:
    """Measure settings of the engine in turns, here and now, until standard input ends."""
    return turns.run(request, log=to_stderr, owner=sys.stdin)
