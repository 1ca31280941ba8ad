"""Sample meter and sensors beside a measurement, in a process of its own.

`python -m llmpi.device.machine.sampler METER OUT` appends a JSON line a sample to OUT until it
is killed.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Required

from typing_extensions import TypedDict

from llmpi.device.machine import environment
from llmpi.device.machine.energy import Samples, gathered
from llmpi.device.machine.metering import MeterError, Read
from llmpi.device.machine.meters import is_here, open_meter, plausible
from llmpi.device.records import Meter
from llmpi.engine.supervise import die_with_parent

SENSORS_EVERY_S = 1.0
FIRMWARE_EVERY_S = 5.0  # a call of vcgencmd costs milliseconds
PATIENCE_S = 30.0
"""On a busy machine a process takes its time; what it misses has no energy."""
TAIL_BYTES = 10_000
EDGE_READINGS = 10
"""So many may fail before a measurement and behind it; then it is done without joules."""


class Sample(TypedDict, total=False):
    """What was due at a moment."""

    t: Required[float]
    """Seconds of the monotonic clock."""
    p: float
    """Power in W, or"""
    e: float
    """a counter's energy in J."""
    error: str
    """Why the meter failed this time."""
    c: float | None
    """Degrees Celsius."""
    f: list[int] | None
    """Hz of each processor."""
    th: list[str] | None
    """What the firmware says is wrong now."""


@contextlib.contextmanager
def sampling(meter: Meter, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Sample into `out` during the block, and a little before and behind it.

    The block is given the process that samples.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(meter), str(out)],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    begun = _is_read if is_here(meter) else bool
    try:
        _wait(lambda: begun(read(out)), child)
        yield child
        end = time.monotonic()
        if is_here(meter):
            _wait(lambda: _is_read([one for one in _last(out) if one["t"] > end]), child)
    finally:
        child.kill()
        child.wait()


def _wait(is_there: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_there() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_read(samples: Sequence[Sample]) -> bool:
    """Whether the meter told something, or fails again and again: what is measured has to lie
    between readings."""
    failures = sum("error" in sample for sample in samples)
    return failures >= EDGE_READINGS or any("p" in one or "e" in one for one in samples)


def _last(out: Path) -> list[Sample]:
    """The last samples, of a file that may be long."""
    with out.open("rb") as file:
        file.seek(max(0, out.stat().st_size - TAIL_BYTES))
        lines = file.read().decode().splitlines(keepends=True)
    return [json.loads(line) for line in lines[1:] if line.endswith("\n")]


def read(out: Path) -> list[Sample]:
    """The samples; what a kill or a full disk cut off is left out."""
    try:
        lines = out.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line if line.endswith("\n") else ""))
    return found


def felt(out: Path) -> str:
    """Temperature and power by the last samples, as a line ends with them; what is not known is
    left out."""
    with contextlib.suppress(OSError, ValueError):
        last: Sample = {"t": 0.0}
        for sample in _last(out):
            last |= sample
        found = ((last.get("c"), "°C"), (last.get("p"), "W"))
        return "".join(f", {value:.1f} {unit}" for value, unit in found if value is not None)
    return ""


def power(samples: list[Sample]) -> Samples | str:
    """What the meter said, or why there is nothing to integrate."""
    return gathered(
        [(s["t"], s.get("p"), s.get("e")) for s in samples if "p" in s or "e" in s],
        [s["error"] for s in samples if "error" in s],
    )


def main(meter: str, out: str) -> None:
    # Straight to the kernel and little of it: beside an engine that has the caches, what runs here
    # costs ten times what it would alone.
    with Path(out).open("wb", buffering=0) as file:
        for sample in _samples(json.loads(meter)):
            file.write(_line(sample).encode())


def _line(sample: Sample) -> str:
    """As JSON; by hand what comes ten times a second."""
    if len(sample) == 2 and "p" in sample:
        return f'{{"t": {sample["t"]!r}, "p": {sample["p"]!r}}}\n'
    return f"{json.dumps(sample)}\n"


def _samples(meter: Meter) -> Iterator[Sample]:
    read_meter: Read | None = None
    here = meter if is_here(meter) else None
    meter_at = 0.0 if here else float("inf")
    sensors_at = firmware_at = 0.0
    heat, clocks = environment.temperature_files(), environment.frequency_files()
    while True:
        now = time.monotonic()
        sample: Sample = {"t": now}
        if here and now >= meter_at:
            meter_at = now + here["interval_s"]
            try:
                read_meter = read_meter or open_meter(here)
                power_w, counter_j = plausible(*read_meter())
            except MeterError as error:
                sample["error"] = str(error)
            else:
                # A reading takes time: it stands for the middle of its call.
                sample["t"] = (now + time.monotonic()) / 2
                if power_w is not None:
                    sample["p"] = power_w
                if counter_j is not None:
                    sample["e"] = counter_j
        if now >= sensors_at:
            sensors_at = now + SENSORS_EVERY_S
            sample["c"] = environment.temperature_c(heat)
            sample["f"] = environment.frequency_hz(clocks)
        if now >= firmware_at:
            state = environment.throttled()
            sample["th"] = state and state["now"]
            firmware_at = now + FIRMWARE_EVERY_S if state else float("inf")
        if len(sample) > 1:
            yield sample
        time.sleep(max(0.0, min(meter_at, sensors_at, firmware_at) - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
