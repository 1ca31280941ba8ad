"""Come again when an endpoint says to."""

import time
from collections.abc import Callable
from typing import TypeVar

from llmpi.device.measure.http_stream import BusyError
from llmpi.engine.progress import say

Kind = TypeVar("Kind")


def patient(ask: Callable[[], Kind], seconds: float) -> Kind:
    """What it comes to: who counts requests, or still loads its model, says when to come again.

    Args:
        ask: sends a request.
        seconds: that all of it may take.

    Raises:
        BusyError: it would be too late then.
        EndpointError: as of `ask`.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except BusyError as busy:
            wait_s = max(1, busy.again_s)
            if time.monotonic() + wait_s > end:
                raise
            say(f"{busy}: again in {wait_s} s")
            time.sleep(wait_s)
