"""`llmpi-device ask`."""

import sys

from llmpi.device.measure import questions
from llmpi.device.records import Asked, AskRequest
from llmpi.engine.progress import to_stderr
from llmpi.engine.records import Failed


def ask(request: AskRequest) -> Asked | Failed:
    """What an endpoint answers to questions."""
    return questions.run(request, log=to_stderr, owner=sys.stdin)
