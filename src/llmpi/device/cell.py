"""One cell on this machine: alone on it, in a child process, its death a result too."""

import os
import select
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from llmpi.device import engine_info, environment
from llmpi.device.energy import constant_power, energy_of
from llmpi.device.limits import limited
from llmpi.device.lock import machine_alone
from llmpi.device.meters import ON_DEVICE
from llmpi.device.sampler import power, read, sampling
from llmpi.device.supervise import INTERRUPT, Death, OwnerGoneError, supervise

SAY_EVERY_S = 60
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
    """Measure, when the machine is free; the record, or the record of how the engine died.

    Args:
        request: `gguf`, `threads`, `workload`, `meter`, `rest` and `limits` (as in the config), and
            `what` it is, in words.
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Raises:
        OwnerGoneError: `owner` ended.
        NotPermittedError: the limits cannot be set here.
    """
    meter = request["meter"]
    with (
        machine_alone(request["what"], wait=_waiter(log, owner)),
        tempfile.TemporaryDirectory(prefix="llmpi-") as folder,
        limited(request["limits"]) as groups,
    ):
        profile = supervise("llmpi.device.bandwidth", request, log=log)
        out = Path(folder) / "samples"
        with sampling(meter, out):
            outcome = supervise(
                "llmpi.device.measure",
                request,
                log=log,
                timeout_s=request["workload"]["timeout_s"],
                owner=owner,
                groups=groups,
            )
        samples = read(out)
    if not isinstance(outcome, Death):
        clock = {"monotonic_s": time.monotonic(), "wall_s": time.time()}
        bandwidth = None if isinstance(profile, Death) else profile
        added = _sampled(outcome, samples, meter)
        also = {"bandwidth": bandwidth, "limits": request["limits"], "clock": clock}
        return {**outcome, **added, **also}
    return {
        "status": "failed",
        "stage": "benchmark",
        "reason": outcome.reason,
        "log_tail": outcome.tail,
        "workload": request["workload"],
        "environment": {"machine": environment.machine(), "engine": engine_info.describe()},
    }


def _sampled(
    record: dict[str, Any], samples: list[dict[str, Any]], meter: dict[str, Any]
) -> dict[str, Any]:
    """What the samplers add to a measurement: its energy, its marks, and the samples themselves."""
    columns = {
        name: [[sample["t"], sample[key]] for sample in samples if sample.get(key) is not None]
        for key, name in SAMPLED.items()
    }
    seen = [record["environment"][when]["throttled"] for when in ("before", "after")]
    throttled = [state for _, state in columns["throttled"] if state]
    throttled += [state["now"] for state in seen if state and state["now"]]
    tokens = sum(len(repetition["itl_s"]) for repetition in record["repetitions"])
    marks = []
    if throttled:
        marks.append("throttled")
    if record["memory"]["swap_bytes"] or record["memory"]["major_faults"] > tokens:
        marks.append("memory-bound: overflow")
    added = {"samples": columns, "marks": marks}
    if meter["kind"] in ON_DEVICE:
        found = power(samples)
    elif meter["kind"] == "constant":
        found = constant_power(record, meter["power_w"])
    elif meter["kind"] == "none":
        found = "the device has no meter"
    else:
        return added  # the workstation reads it
    return {**added, "energy": energy_of(record, found, meter)}


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
