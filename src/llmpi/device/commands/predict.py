"""`llmpi-device predict`."""

import sys

from llmpi.device.measure import parity
from llmpi.device.records import PredictRequest
from llmpi.engine.progress import to_stderr
from llmpi.engine.records import Failed, Predicted


def predict(request: PredictRequest) -> Predicted | Failed:
    """What a model predicts here for the text of the parity check."""
    return parity.run(request, log=to_stderr, owner=sys.stdin)
