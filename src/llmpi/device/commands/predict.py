"""`llmpi-device predict`."""

import sys
from typing import Any

from llmpi.device.measure import parity
from llmpi.engine.progress import to_stderr


def predict(request: dict[str, Any]) -> Any:
    """What a model predicts here for the text of the parity check."""
    return parity.run(request, log=to_stderr, owner=sys.stdin)
