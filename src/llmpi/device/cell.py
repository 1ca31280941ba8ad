"""One cell on this machine: alone on it, in a child process, its death a result too."""

import os
import select
import time
from collections.abc import Callable
from typing import IO, Any

from llmpi.device import engine_info, environment
from llmpi.device.lock import machine_alone
from llmpi.device.supervise import INTERRUPT, Death, OwnerGoneError, supervise

SAY_EVERY_S = 60


def run(
    request: dict[str, Any], *, log: Callable[[str], None], owner: IO[str] | None = None
) -> dict[str, Any]:
    """Measure, when the machine is free; the record, or the record of how the engine died.

    Args:
        request: `gguf`, `threads`, `workload` (as in the config), and `what` it is, in words.
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Raises:
        OwnerGoneError: `owner` ended.
    """
    with machine_alone(request["what"], wait=_waiter(log, owner)):
        outcome = supervise(
            "llmpi.device.measure",
            request,
            log=log,
            timeout_s=request["workload"]["timeout_s"],
            owner=owner,
        )
    if not isinstance(outcome, Death):
        return outcome
    return {
        "status": "failed",
        "stage": "benchmark",
        "reason": outcome.reason,
        "log_tail": outcome.tail,
        "workload": request["workload"],
        "environment": {"machine": environment.machine(), "engine": engine_info.describe()},
    }


def _waiter(log: Callable[[str], None], owner: IO[str] | None) -> Callable[[str], None]:
    said_at = -float(SAY_EVERY_S)

    def wait(holder: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_EVERY_S:
            log(f"llmpi: waiting; the machine is held by {holder}")
            said_at = time.monotonic()
        if owner is not None and select.select([owner], [], [], 0)[0]:
            said = os.read(owner.fileno(), 1024)
            if not said or INTERRUPT in said:
                raise OwnerGoneError

    return wait
