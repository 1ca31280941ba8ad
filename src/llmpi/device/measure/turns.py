"""Settings of the engine, or engines, in turns, alone on the machine: a block of a search or of a
comparison.

What decides the turns is elsewhere (`llmpi.tune`); here they are measured in the given order.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.energy import NoEnergyError, Samples, joules, whole
from llmpi.device.machine.limits import limited
from llmpi.device.machine.meters import TIERS
from llmpi.device.machine.sampler import power, read, sampling
from llmpi.device.measure.rest import cool_down
from llmpi.device.records import MeterHere, TurnJob, TurnRequest, TurnsRequest
from llmpi.engine.laid_over import laid_over
from llmpi.engine.records import CooledTurn, FailedTurn, NoEnergy, Turn, TurnEnergy, Turns
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
        tempfile.TemporaryDirectory(prefix="llmpi-") as folder,
        limited(request["limits"]) as groups,
    ):
        started, before = time.monotonic(), environment.conditions()
        out, meter = Path(folder) / "samples", request["meter"]
        with sampling(meter, out) if meter else nullcontext():
            turns = [
                _turn(request, asked, log=log, owner=owner, groups=groups)
                for asked in request["turns"]
            ]
        if meter:
            samples = power(read(out))
            for turn in turns:
                if turn["status"] == "ok":
                    turn["energy"] = energy_of(turn, samples, meter)
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
        environment={
            **({"OMP_WAIT_POLICY": policy} if policy else {}),
            **laid_over(asked.get("engine")),
        },
    )
    if isinstance(outcome, Death):
        return {"status": "failed", "reason": outcome.reason, "cooled": cooled}
    return {**outcome, "cooled": cooled, "energy": None}


def energy_of(turn: Turn, samples: Samples | str, meter: MeterHere) -> TurnEnergy | NoEnergy:
    """What the device took in a turn.

    Args:
        samples: or why there are none.
    """
    tier = TIERS[meter["kind"]]
    if isinstance(samples, str):
        return {"status": "none", "tier": tier, "reason": samples}
    try:
        found = {
            name: joules(samples, [whole(one) for one in done]).each
            for name, done in turn["workloads"].items()
        }
    except NoEnergyError as error:
        return {"status": "none", "tier": tier, "reason": str(error)}
    return {"status": "ok", "tier": tier, "energy_j": found}
