"""`llmpi-device measure`."""

import sys

from llmpi.device.measure import session
from llmpi.device.records import SessionAnswer, SessionRequest
from llmpi.engine.progress import to_stderr


def measure(request: SessionRequest) -> SessionAnswer:
    """Measure a session here and now, until standard input ends."""
    return session.run(request, log=to_stderr, owner=sys.stdin)
