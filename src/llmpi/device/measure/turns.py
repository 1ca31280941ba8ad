"""Settings of the engine in turns, alone on the machine: a block of a search.

What decides the settings is elsewhere (`llmpi.tune`); here they are measured in the given order.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.limits import limited
from llmpi.device.measure.rest import cool_down
from llmpi.device.records import TurnJob, TurnRequest, TurnsRequest
from llmpi.engine.records import CooledTurn, FailedTurn, Turn, Turns
from llmpi.engine.supervise import Death, supervise


def run(
    request: TurnsRequest, *, log: Callable[[str], None], owner: IO[str] | None = None
) -> Turns:
    """Give each setting its turn, in a process of its own; one that dies is a result.

    Args:
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Raises:
        OwnerGoneError: `owner` ended.
        NotPermittedError: the limits cannot be set here.
    """
    with (
        machine_alone(request["what"], wait=waiting(log, owner)),
        limited(request["limits"]) as groups,
    ):
        started, before = time.monotonic(), environment.conditions()
        turns = [
            _turn(request, asked, log=log, owner=owner, groups=groups) for asked in request["turns"]
        ]
    return {
        "status": "ok",
        "turns": turns,
        "before": before,
        "after": environment.conditions(),
        "took_s": time.monotonic() - started,
    }


def _turn(
    request: TurnsRequest,
    asked: TurnRequest,
    *,
    log: Callable[[str], None],
    owner: IO[str] | None,
    groups: list[Path],
) -> CooledTurn | FailedTurn:
    policy = asked["runtime"]["omp_wait_policy"]
    cooled = cool_down(request["rest"])
    job: TurnJob = {
        "gguf": request["gguf"],
        "threads": request["threads"],
        "runtime": asked["runtime"],
        "workloads": request["workloads"],
        "repetitions": request["repetitions"],
        "seed": request["seed"],
        "check": asked["check"],
    }
    outcome = supervise(
        "llmpi.device.measure.turn_process",
        job,
        writes=Turn,
        log=log,
        timeout_s=asked["timeout_s"] or request["timeout_s"],
        owner=owner,
        groups=groups,
        environment={"OMP_WAIT_POLICY": policy} if policy else None,
    )
    if isinstance(outcome, Death):
        return {"status": "failed", "reason": outcome.reason, "cooled": cooled}
    return {**outcome, "cooled": cooled}
