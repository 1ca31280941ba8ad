"""Settings of the engine in turns, alone on the machine: a block of a search.

What decides the settings is elsewhere (`llmpi.tune`); here they are measured in the given order.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.limits import limited
from llmpi.device.measure.process import cool_down
from llmpi.engine.supervise import Death, supervise


def run(
    request: dict[str, Any], *, log: Callable[[str], None], owner: IO[str] | None = None
) -> dict[str, Any]:
    """Give each setting its turn, in a process of its own; one that dies is a result.

    Args:
        request: `turns`, a list of `runtime`, `check` and `timeout_s` each; the rest of what
            `llmpi.device.measure.turn_process` takes; `timeout_s` of a turn that has none of its
            own; `rest` (`cool_below_c` and `cool_limit_s`) and `limits` of the device; `what` it is
            for.
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Returns:
        Record with the `turns` in order, each with its `cooled` (`cool_down`), the conditions
        `before` and `after`, and the seconds it took in all, `took_s`, without waiting for others.

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
    request: dict[str, Any],
    asked: dict[str, Any],
    *,
    log: Callable[[str], None],
    owner: IO[str] | None,
    groups: list[Path],
) -> dict[str, Any]:
    rest, policy = request["rest"], asked["runtime"]["omp_wait_policy"]
    cooled = cool_down(rest["cool_below_c"], rest["cool_limit_s"])
    outcome = supervise(
        "llmpi.device.measure.turn_process",
        {**request, **asked},
        log=log,
        timeout_s=asked["timeout_s"] or request["timeout_s"],
        owner=owner,
        groups=groups,
        environment={"OMP_WAIT_POLICY": policy} if policy else None,
    )
    if isinstance(outcome, Death):
        return {"status": "failed", "reason": outcome.reason, "cooled": cooled}
    return {**outcome, "cooled": cooled}
