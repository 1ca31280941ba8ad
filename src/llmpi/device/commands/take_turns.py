"""`llmpi-device take_turns`."""

import sys
from typing import Any

from llmpi.device.measure import turns
from llmpi.engine.progress import to_stderr


def take_turns(request: dict[str, Any]) -> Any:
    """Measure settings of the engine in turns, here and now, until standard input ends."""
    return turns.run(request, log=to_stderr, owner=sys.stdin)
