"""`llmpi-device rates`."""

import sys

from llmpi.device.measure import rates as measured
from llmpi.device.records import RatesRequest
from llmpi.engine.progress import to_stderr
from llmpi.engine.records import Failed, MeasuredRates


def rates(request: RatesRequest) -> MeasuredRates | Failed:
    """Time products with each type of weights, here and now, until standard input ends."""
    return measured.run(request, log=to_stderr, owner=sys.stdin)
