"""`llmpi-device measure`."""

import sys
from typing import Any

from llmpi.device.measure import session
from llmpi.engine.progress import to_stderr


def measure(request: dict[str, Any]) -> Any:
    """Measure a session here and now, until standard input ends."""
    return session.run(request, log=to_stderr, owner=sys.stdin)
