"""Meters that the workstation reads, while a device measures or when it has.

Their samples carry this machine's time; `Timeline` brings them onto the device's clock. A reading
that fails is a gap, and told; it ends nothing. What a plug said is kept in a file as it comes: a
measurement may outlive this process, and is collected by another with its joules.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from llmpi.device.machine.energy import Samples, gathered
from llmpi.engine.records import Clock
from llmpi.errors import LlmpiError
from llmpi.remote.meter_log import read_log
from llmpi.remote.smart_plugs import ANSWER_S, Counter, ReadPlug, open_plug
from llmpi.study.meters import CsvMeter, Meter, Plug

log = logging.getLogger(__name__)

Row = tuple[float, float, Counter | None]
"""Our time in seconds since 1970, power in W, and the counter where there is one."""


class Timeline:
    """How far the device's clock is ahead of ours, by the quickest way back of an answer.

    A device is asked by starting a program there, which says the time at its end: most of an
    answer's time passes before that. What is left is the way back, which only makes the clock look
    behind.
    """

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    @property
    def skew_s(self) -> float:
        return self._ahead_s or 0.0

    def heard(self, answered: float, device_time: float) -> None:
        """Take an answer into account: our time when it came, the device's when it was given."""
        ahead_s = device_time - answered
        self._ahead_s = ahead_s if self._ahead_s is None else max(self._ahead_s, ahead_s)


class Sampled:
    """Samples of a meter, gathered here while a device measures."""

    def __init__(self, meter: Plug | CsvMeter, kept: Path) -> None:
        self._meter, self._kept = meter, kept
        self._rows = _kept_rows(kept)
        self._failures: list[str] = []
        self._end = threading.Event()
        self._keeping = threading.Lock()

    def poll(self, read: ReadPlug, interval_s: float) -> None:
        """Until `stop`."""
        while True:
            asked = time.time()
            try:
                power_w, counter_j = read()
            except LlmpiError as error:
                if not self._failures:
                    log.warning("the meter failed: %s", error)
                self._failures.append(str(error))
            else:
                self._keep(((asked + time.time()) / 2, power_w, counter_j))
            if self._end.wait(interval_s):
                return

    def _keep(self, row: Row) -> None:
        """Unless it comes behind `stop`, behind which a file may be gone for good."""
        with self._keeping:
            if self._end.is_set():
                return
            self._rows.append(row)
            with contextlib.suppress(OSError), self._kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def stop(self, *, after: float | None = None, within_s: float = 0.0) -> None:
        """End it.

        Args:
            after: one sample is to be of later than this, if it comes
            within_s: so many seconds.
        """
        deadline = time.monotonic() + within_s
        while after and not self._sees(after) and time.monotonic() < deadline:
            time.sleep(0.05)
        with self._keeping:
            self._end.set()

    def _sees(self, when: float) -> bool:
        return bool(self._rows) and self._rows[-1][0] > when

    def samples(self, clock: Clock, skew_s: float) -> Samples | str:
        """On the monotonic clock of the device that `clock` is of; or why there are none.

        What was read before the device was switched on is of a session that its power took.
        """
        rows, failures = self._rows, self._failures
        if isinstance(self._meter, CsvMeter):
            try:
                logged, failures = read_log(self._meter)
            except LlmpiError as error:
                return str(error)
            rows = [(at, power_w, None) for at, power_w in logged]
        shift = skew_s - clock["wall_s"] + clock["monotonic_s"]
        rows = [row for row in rows if row[0] + shift >= 0]
        return gathered(
            [(at + shift, power_w, counter and counter.joules) for at, power_w, counter in rows],
            failures,
            min((counter.resolution_j for *_, counter in rows if counter), default=0.0),
        )

    def forget(self) -> None:
        """What was kept is of no use any more."""
        self._kept.unlink(missing_ok=True)


def _kept_rows(kept: Path) -> list[Row]:
    """What an earlier process heard; half a line is none."""
    rows: list[Row] = []
    with contextlib.suppress(FileNotFoundError):
        for line in kept.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            with contextlib.suppress(ValueError, TypeError):
                at, power_w, counter = json.loads(line if line.endswith("\n") else "")
                rows.append((float(at), float(power_w), counter and Counter(*map(float, counter))))
    return rows


@contextlib.contextmanager
def plug_sampling(meter: Meter, kept: Path) -> Iterator[Sampled | None]:
    """Read the meter during the block, if it is one of the workstation's.

    Args:
        kept: file for what it says, from now until `Sampled.forget`.

    Raises:
        LlmpiError: its password cannot be read.
    """
    if isinstance(meter, CsvMeter):  # read when all is over
        yield Sampled(meter, kept)
        return
    if not isinstance(meter, Plug):
        yield None
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    sampled = Sampled(meter, kept)
    thread = threading.Thread(
        target=sampled.poll, args=[open_plug(meter), meter.interval_s], daemon=True
    )
    thread.start()
    try:
        yield sampled
        sampled.stop(after=time.time(), within_s=2 * (meter.interval_s + ANSWER_S))
    finally:
        sampled.stop()
