"""One session on this machine: alone on it, in a child process, its death a result too."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.contention import disturbed
from llmpi.device.machine.energy import Samples, add_energy, measured
from llmpi.device.machine.limits import limited
from llmpi.device.machine.meters import is_here
from llmpi.device.machine.sampler import FIRMWARE_EVERY_S, Sample, felt, power, read, sampling
from llmpi.device.measure.lost import lost, not_tried
from llmpi.device.records import Meter, SessionAnswer, SessionJob, SessionRequest
from llmpi.engine import info as engine_info
from llmpi.engine.progress import step_in
from llmpi.engine.prompted import prompts
from llmpi.engine.records import (
    Bandwidth,
    Cell,
    Circumstances,
    ConcurrentWorkload,
    Environment,
    FailedCell,
    FailedSession,
    LoadedSession,
    Prompted,
    Sampled,
    Where,
)
from llmpi.engine.supervise import Death, supervise

BANDWIDTH_S = 300
"""A GiB out of the slowest of cards is read by then."""
READ_AHEAD_BYTES = 128 * 1024
"""What one page fault brings by the kernel's default (read_ahead_kb, sysfs-class-bdi)."""


@dataclass(frozen=True)
class Watch:
    """Who is told of a measurement, and what ends it; see `supervise`."""

    log: Callable[[str], None]
    owner: IO[str] | None
    groups: Sequence[Path]
    sensors: Sequence[int]


def run(
    request: SessionRequest, *, log: Callable[[str], None], owner: IO[str] | None = None
) -> SessionAnswer:
    """Measure, when the machine is free; the record, in which a dead engine is a result.

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
        if why := environment.throttling_unseen():
            log(f"llmpi: throttling will not be seen: {why}")
        profile = None if "endpoint" in request else _bandwidth(request, log)
        out = Path(folder) / "samples"
        started = time.monotonic()
        with sampling(request["meter"], out) as sampler:
            watch = Watch(_with_sensors(log, out), owner, groups, [sampler.pid])
            record = _session(request, watch)
        samples = read(out)
    if record["status"] == "failed":
        return record
    elsewhere = not _on_device(record)
    if elsewhere:
        samples = []  # of this machine, which only asked
    throttled = [sample["t"] for sample in samples if sample.get("th")]
    _mark(record, throttled, request["others_at_most_pct"])
    found = _power(samples, request["meter"], started, elsewhere=elsewhere)
    if found is not None:
        add_energy(record, found, request["meter"])
    return {
        **record,
        "samples": _columns(samples),
        "others_at_most_pct": request["others_at_most_pct"],
        "bandwidth": profile,
        "limits": request["limits"],
        "clock": {"monotonic_s": time.monotonic(), "wall_s": time.time(), "ahead_s": 0.0},
    }


def _bandwidth(request: SessionRequest, log: Callable[[str], None]) -> Bandwidth | None:
    found = supervise(
        "llmpi.device.measure.bandwidth",
        request,
        writes=Bandwidth,
        log=log,
        timeout_s=BANDWIDTH_S,
    )
    if isinstance(found, Death):
        log(f"llmpi: the bandwidth is not known: {found.reason}")
        return None
    return found


def _with_sensors(log: Callable[[str], None], samples: Path) -> Callable[[str], None]:
    """Lines that say how far it is say, too, how warm it is there and what it takes."""

    def told(line: str) -> None:
        is_step = step_in(line.removeprefix("llmpi: ")) is not None
        log(f"{line}{felt(samples)}" if is_step else line)

    return told


def _session(request: SessionRequest, watch: Watch) -> LoadedSession | FailedSession:
    """All workloads in one process; each in its own where one of them killed the engine."""
    workloads, policy = request["workloads"], request["runtime"]["omp_wait_policy"]
    job: SessionJob = {**request, "sensors": [*watch.sensors]}
    outcome = supervise(
        request["measured_by"],
        job,
        writes=LoadedSession,
        log=watch.log,
        timeout_s=sum(workload["timeout_s"] for workload in workloads.values()),
        owner=watch.owner,
        groups=watch.groups,
        environment={"OMP_WAIT_POLICY": policy} if policy else None,
    )
    if not isinstance(outcome, Death):
        return outcome
    if len(workloads) > 1:
        watch.log(f"llmpi: {outcome.reason}; measuring each workload by itself")
        each: list[SessionRequest] = [
            {**request, "workloads": {w: asked}} for w, asked in workloads.items()
        ]
        return _together([_session(one, watch) for one in each])
    [(name, asked)] = workloads.items()
    if asked["kind"] == "concurrent" and len(asked["conversations"]) > 1:
        watch.log(f"llmpi: {outcome.reason}; measuring with fewer conversations")
        return _with_fewer(request, name, asked, outcome.reason, watch)
    cell: FailedCell = {**outcome.failed("benchmark"), "workload": asked, "levels": []}
    failed: FailedSession = {
        "status": "failed",
        "stage": cell["stage"],
        "reason": outcome.reason,
        "log_tail": outcome.tail,
        "workloads": {name: cell},
    }
    if "endpoint" not in request:
        where: Where = {"machine": environment.machine(), "engine": engine_info.describe()}
        failed["environment"] = where
    return failed


def _with_fewer(
    request: SessionRequest, name: str, asked: ConcurrentWorkload, reason: str, watch: Watch
) -> LoadedSession | FailedSession:
    """Conversations side by side that killed the engine: again, without the largest number.

    It is the one to blame where the others live, since it takes the most memory.
    """
    *fewer, most = asked["conversations"]
    less: ConcurrentWorkload = {**asked, "conversations": fewer}
    session = _session({**request, "workloads": {name: less}}, watch)
    for cell in session.get("workloads", {}).values():
        if cell["status"] == "failed":
            cell["workload"] = asked
        elif cell["kind"] == "concurrent":
            cell["workload"] = asked
            lived = all(level["status"] == "ok" for level in cell["levels"])
            cell["levels"].append(lost(most, reason) if lived else not_tried(most))
    return session


def _together(
    sessions: Sequence[LoadedSession | FailedSession],
) -> LoadedSession | FailedSession:
    """Sessions of one workload each as one, in which each workload brings its own circumstances."""
    cells: dict[str, Cell] = {}
    for session in sessions:
        for name, cell in session.get("workloads", {}).items():
            if session["status"] == "ok" and cell["status"] == "ok":
                cell["apart"] = _circumstances(session)
            cells[name] = cell
    if lived := [session for session in sessions if session["status"] == "ok"]:
        return {**lived[0], "workloads": cells}
    died = [session for session in sessions if session["status"] == "failed"]
    failed = {name: cell for name, cell in cells.items() if cell["status"] == "failed"}
    return {**died[0], "workloads": failed}


def _circumstances(session: LoadedSession) -> Circumstances:
    found: Circumstances = {
        "settings": session["settings"],
        "load": session["load"],
        "order": session["order"],
        "idle": session["idle"],
        "cooled": session["cooled"],
        "environment": session["environment"],
    }
    if "endpoint" in session:
        found["endpoint"] = session["endpoint"]
    return found


def _mark(record: LoadedSession, throttled: Sequence[float], others_at_most_pct: float) -> None:
    """Name what a measurement suffered from; see docs/methodology.md.

    Args:
        throttled: when the firmware says so.
        others_at_most_pct: what other programs may have of the processors.
    """
    for cell, part, _ in measured(record):
        depths = cell["depths"] if cell["kind"] == "single" else []
        done = [*part["repetitions"], *(one for depth in depths for one in depth["repetitions"])]
        repetitions = prompts(done)
        how = cell["apart"] or record
        if (_on_device(how) and _throttled(how["environment"])) or any(
            repetition["start_s"] - FIRMWARE_EVERY_S < at < _end(repetition) + FIRMWARE_EVERY_S
            for repetition in repetitions
            for at in throttled
        ):
            part["marks"].append("throttled")
        tokens = sum(len(repetition["itl_s"]) for repetition in repetitions)
        memory = part["memory"]
        # Where more is read ahead, most of what is fetched comes without a fault of its own.
        ahead = (memory.get("fetched_bytes") or 0) / READ_AHEAD_BYTES
        faults = max(memory["major_faults"] or 0, ahead)
        if memory["swap_bytes"] or faults > tokens:
            part["marks"].append("memory-bound: overflow")
        if any(disturbed(repetition, others_at_most_pct) for repetition in done):
            part["marks"].append("disturbed")


def _on_device(how: Circumstances) -> bool:
    """Whether it was computed on this machine."""
    return "endpoint" not in how or how["endpoint"]["on_device"]


def _throttled(found: Environment) -> bool:
    return environment.throttled_meanwhile(found["before"], found["after"])


def _end(repetition: Prompted) -> float:
    return repetition["start_s"] + repetition["ttft_s"] + sum(repetition["itl_s"])


def _power(
    samples: list[Sample], meter: Meter, started: float, *, elsewhere: bool
) -> Samples | str | None:
    """What the meter said, or why nothing; None where the workstation reads it.

    Args:
        elsewhere: another machine computed.
    """
    if is_here(meter) and elsewhere:
        return "the meter is of the machine that asked, and another one computed"
    if is_here(meter):
        return power(samples)
    if meter["kind"] == "constant":
        return Samples([started, time.monotonic()], [meter["power_w"]] * 2, [])
    return "the device has no meter" if meter["kind"] == "none" else None


def _columns(samples: Sequence[Sample]) -> Sampled:
    return {
        "power_w": [(s["t"], s["p"]) for s in samples if "p" in s],
        "energy_j": [(s["t"], s["e"]) for s in samples if "e" in s],
        "temperature_c": [(s["t"], c) for s in samples if (c := s.get("c")) is not None],
        "frequency_hz": [(s["t"], f) for s in samples if (f := s.get("f")) is not None],
        "throttled": [(s["t"], th) for s in samples if (th := s.get("th")) is not None],
    }
