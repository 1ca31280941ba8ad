"""Sample meter and sensors beside a measurement, in a process of its own.

`python -m llmpi.device.machine.sampler SPEC OUT` appends one JSON line for each sample to OUT until
it is killed: `t` (seconds of the monotonic clock), `p` (W), `e` (J, a counter), `c` (degrees
Celsius), `f` (Hz), `th` (what the firmware says is wrong now); the last line has `error` if the
meter failed.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmpi.device.machine import environment
from llmpi.device.machine.energy import Samples
from llmpi.device.machine.meters import ON_DEVICE, MeterError, Read, open_meter
from llmpi.engine.supervise import die_with_parent

SENSORS_EVERY_S = 1.0
FIRMWARE_EVERY_S = 5.0  # a call of vcgencmd costs milliseconds
METER_EVERY_S = 0.2


@contextmanager
def sampling(meter: dict[str, Any], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Sample into `out` during the block, in the process it is given."""
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(meter), str(out)],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    try:
        yield child
        if meter["kind"] in ON_DEVICE:
            time.sleep(2 * (meter.get("interval_s") or METER_EVERY_S))  # one sample behind the end
    finally:
        child.kill()
        child.wait()


def read(out: Path) -> list[dict[str, Any]]:
    """The samples; a last line cut off by the kill is left out."""
    try:
        lines = out.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def power(samples: list[dict[str, Any]]) -> Samples | str:
    """What the meter said, or why there is nothing to integrate."""
    if error := next((sample["error"] for sample in samples if "error" in sample), None):
        return f"the meter failed: {error}"
    metered = [sample for sample in samples if "p" in sample or "e" in sample]
    if len(metered) < 2:
        return "the meter gave fewer than two samples"
    return Samples(
        [sample["t"] for sample in metered],
        [sample["p"] for sample in metered if "p" in sample],
        [sample["e"] for sample in metered if "e" in sample],
    )


def main(meter: str, out: str) -> None:
    spec = json.loads(meter)
    with Path(out).open("w", buffering=1) as file:
        for sample in _samples(spec):
            file.write(json.dumps(sample) + "\n")


def _samples(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    read_meter: Read | None = None
    due = {"meter": 0.0, "sensors": 0.0, "firmware": 0.0}
    step = spec.get("interval_s") or METER_EVERY_S
    every = {"meter": step, "sensors": SENSORS_EVERY_S, "firmware": FIRMWARE_EVERY_S}
    metered = spec["kind"] in ON_DEVICE
    while True:
        sample: dict[str, Any] = {}
        now = time.monotonic()
        if metered and now >= due["meter"]:
            try:
                read_meter = read_meter or open_meter(spec)
                power_w, counter_j = read_meter()
            except MeterError as error:
                metered = False
                sample["error"] = str(error)
            else:
                # A reading takes time: it stands for the middle of its call.
                sample["t"] = (now + time.monotonic()) / 2
                sample |= {"p": power_w} if power_w is not None else {"e": counter_j}
            due["meter"] = now + every["meter"]
        if now >= due["sensors"]:
            sample |= {"c": environment.temperature_c(), "f": environment.frequency_hz()}
            due["sensors"] = now + every["sensors"]
        if now >= due["firmware"]:
            state = environment.throttled()
            sample["th"] = state and state["now"]
            every["firmware"] = FIRMWARE_EVERY_S if state else float("inf")
            due["firmware"] = now + every["firmware"]
        if sample:
            yield {"t": now, **sample}
        nearest = min(due.values()) if metered else min(due["sensors"], due["firmware"])
        time.sleep(max(0.0, nearest - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
