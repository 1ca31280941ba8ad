"""One session on this machine: alone on it, in a child process, its death a result too."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.energy import Samples, add_energy, measured
from llmpi.device.machine.limits import limited
from llmpi.device.machine.meters import ON_DEVICE
from llmpi.device.machine.sampler import FIRMWARE_EVERY_S, power, read, sampling
from llmpi.device.measure.concurrent import NOT_TRIED
from llmpi.engine import info as engine_info
from llmpi.engine.supervise import Death, supervise

SAMPLED = {
    "p": "power_w",
    "e": "energy_j",
    "c": "temperature_c",
    "f": "frequency_hz",
    "th": "throttled",
}


def run(
    request: dict[str, Any], *, log: Callable[[str], None], owner: IO[str] | None = None
) -> dict[str, Any]:
    """Measure, when the machine is free; the record, in which a dead engine is a result.

    Args:
        request: what `llmpi.device.measure.process` takes, and `meter` and `limits` as in the
        config. log: called with each line of what is said meanwhile.
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
        profile = supervise("llmpi.device.measure.bandwidth", request, log=log)
        out = Path(folder) / "samples"
        started = time.monotonic()
        with sampling(request["meter"], out):
            record = _session(request, log=log, owner=owner, groups=groups)
        samples = read(out)
    if record["status"] != "ok":
        return record
    _mark(record, [sample for sample in samples if sample.get("th")])
    found = _power(samples, request["meter"], started)
    if found is not None:
        add_energy(record, found, request["meter"])
    return {
        **record,
        "samples": _columns(samples),
        "bandwidth": None if isinstance(profile, Death) else profile,
        "limits": request["limits"],
        "clock": {"monotonic_s": time.monotonic(), "wall_s": time.time()},
    }


def _session(request: dict[str, Any], **how: Any) -> dict[str, Any]:
    """All workloads in one process; each in its own where one of them killed the engine."""
    workloads, policy = request["workloads"], request["runtime"]["omp_wait_policy"]
    outcome = supervise(
        "llmpi.device.measure.process",
        request,
        timeout_s=sum(workload["timeout_s"] for workload in workloads.values()),
        environment={"OMP_WAIT_POLICY": policy} if policy else None,
        **how,
    )
    if not isinstance(outcome, Death):
        return outcome
    if len(workloads) > 1:
        how["log"](f"llmpi: {outcome.reason}; measuring each workload by itself")
        return _together(
            {w: _session({**request, "workloads": {w: workloads[w]}}, **how) for w in workloads}
        )
    [(name, spec)] = workloads.items()
    if len(spec.get("conversations", [])) > 1:
        how["log"](f"llmpi: {outcome.reason}; measuring with fewer conversations")
        return _with_fewer(request, name, outcome.reason, how)
    died = {
        "status": "failed",
        "stage": "benchmark",
        "reason": outcome.reason,
        "log_tail": outcome.tail,
    }
    machine = {"machine": environment.machine(), "engine": engine_info.describe()}
    cells = {name: {**died, "workload": spec}}
    return {**died, "environment": machine, "workloads": cells}


def _with_fewer(
    request: dict[str, Any], name: str, reason: str, how: dict[str, Any]
) -> dict[str, Any]:
    """Conversations side by side that killed the engine: again, without the largest number.

    It is the one to blame where the others live, since it takes the most memory.
    """
    spec = request["workloads"][name]
    *fewer, most = spec["conversations"]
    asked = {name: {**spec, "conversations": fewer}}
    session = _session({**request, "workloads": asked}, **how)
    cell = session["workloads"][name]
    cell["workload"] = spec
    if cell["status"] == "ok":
        lived = all(level["status"] == "ok" for level in cell["levels"])
        ended = {"status": "failed", "reason": reason} if lived else NOT_TRIED
        cell["levels"].append({"conversations": most, **ended})
    return session


def _together(sessions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Sessions of one workload each as one, in which each workload brings its own conditions."""
    cells = {}
    for name, session in sessions.items():
        conditions = {key: value for key, value in session.items() if key != "workloads"}
        cells[name] = {**conditions, **session["workloads"][name]}
    lived = [session for session in sessions.values() if session["status"] == "ok"]
    return {**(lived or list(sessions.values()))[0], "workloads": cells}


def _mark(record: dict[str, Any], throttled: list[dict[str, Any]]) -> None:
    """Name what a measurement suffered from; see docs/methodology.md.

    Args:
        throttled: the samples in which the firmware says so.
    """
    for cell, part in measured(record):
        depths = [r for depth in part.get("depths", []) for r in depth["repetitions"]]
        repetitions = [*part["repetitions"], *depths]
        conditions = cell.get("environment", record["environment"])
        part["marks"] = []
        if _throttled_meanwhile(conditions) or any(
            repetition["start_s"] - FIRMWARE_EVERY_S
            < sample["t"]
            < _end(repetition) + FIRMWARE_EVERY_S
            for repetition in repetitions
            for sample in throttled
        ):
            part["marks"].append("throttled")
        tokens = sum(len(repetition["itl_s"]) for repetition in repetitions)
        if part["memory"]["swap_bytes"] or part["memory"]["major_faults"] > tokens:
            part["marks"].append("memory-bound: overflow")


def _throttled_meanwhile(conditions: dict[str, Any]) -> bool:
    """Whether the firmware says so before or after, or remembers something new since."""
    before, after = conditions["before"]["throttled"], conditions["after"]["throttled"]
    if not before or not after:
        return False
    new = set(after["since_boot"]) - set(before["since_boot"])
    return bool(before["now"] or after["now"] or new)


def _end(repetition: dict[str, Any]) -> float:
    return float(repetition["start_s"] + repetition["ttft_s"] + sum(repetition["itl_s"]))


def _power(
    samples: list[dict[str, Any]], meter: dict[str, Any], started: float
) -> Samples | str | None:
    """What the meter said, or why nothing; None where the workstation reads it."""
    if meter["kind"] in ON_DEVICE:
        return power(samples)
    if meter["kind"] == "constant":
        return Samples([started, time.monotonic()], [meter["power_w"]] * 2, [])
    return "the device has no meter" if meter["kind"] == "none" else None


def _columns(samples: list[dict[str, Any]]) -> dict[str, list[list[Any]]]:
    """name -> [[seconds of the monotonic clock, value], ...]."""
    return {
        name: [[sample["t"], sample[key]] for sample in samples if sample.get(key) is not None]
        for key, name in SAMPLED.items()
    }
