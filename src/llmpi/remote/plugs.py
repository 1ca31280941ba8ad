"""Meters that the workstation reads: smart plugs over HTTP, and the log of a USB meter.

Their samples carry this machine's time; `Timeline` brings them onto the device's clock.
"""

import csv
import logging
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, NotRequired

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from llmpi.device.machine.energy import JOULES_PER_WH, Samples
from llmpi.engine.records import Clock
from llmpi.errors import LlmpiError
from llmpi.records import check
from llmpi.study.meters import CsvMeter, Meter, ShellyMeter, TasmotaMeter

log = logging.getLogger(__name__)

ANSWER_S = 5.0


class Counter(NamedTuple):
    """A reading of an energy counter, and how much its last digit stands for."""

    joules: float
    resolution_j: float


AtWorkstation = TasmotaMeter | ShellyMeter | CsvMeter
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


class Plug:
    """Samples of a meter, gathered here while a device measures."""

    def __init__(self, meter: AtWorkstation) -> None:
        self._meter = meter
        self._rows: list[Row] = []
        self._error: str | None = None
        self._end = threading.Event()

    def poll(self, meter: TasmotaMeter | ShellyMeter) -> None:
        """Until `stop`; the first failure ends it."""
        while True:
            asked = time.time()
            try:
                power_w, counter_j = read_plug(meter)
            except (OSError, LlmpiError) as error:
                self._error = f"the meter failed: {meter.url}: {error!r}"
                log.warning("%s", self._error)
                return
            self._rows.append(((asked + time.time()) / 2, power_w, counter_j))
            if self._end.wait(meter.interval_s):
                return

    def stop(self) -> None:
        self._end.set()

    def samples(self, clock: Clock, skew_s: float) -> Samples | str:
        """On the monotonic clock of the device that `clock` is of; or why there are none."""
        rows = self._rows
        if isinstance(self._meter, CsvMeter):
            try:
                rows = read_log(self._meter)
            except (OSError, ValueError, KeyError) as error:
                return f"the meter's log {self._meter.path} cannot be read: {error!r}"
        if self._error:
            return self._error
        if len(rows) < 2:
            return "the meter gave fewer than two samples"
        shift = skew_s - clock["wall_s"] + clock["monotonic_s"]
        times, powers, counters = zip(*rows, strict=True)
        counted = None not in counters
        return Samples(
            [at + shift for at in times],
            list(powers),
            [counter.joules for counter in counters] if counted else [],
            min(counter.resolution_j for counter in counters) if counted else 0.0,
        )


@contextmanager
def plug_sampling(meter: Meter) -> Iterator[Plug | None]:
    """Read the meter during the block, if it is one of the workstation's."""
    if isinstance(meter, CsvMeter):  # read when all is over
        yield Plug(meter)
        return
    if not isinstance(meter, TasmotaMeter | ShellyMeter):
        yield None
        return
    plug = Plug(meter)
    thread = threading.Thread(target=plug.poll, args=[meter], daemon=True)
    thread.start()
    try:
        yield plug
        if thread.is_alive():
            time.sleep(2 * meter.interval_s)  # one sample behind the end
    finally:
        plug.stop()


class TasmotaReading(TypedDict):
    """`StatusSNS.ENERGY`."""

    Power: FiniteFloat
    """W."""
    Total: NotRequired[FiniteFloat | None]
    """kWh."""


class TasmotaSensors(TypedDict):
    """`StatusSNS`."""

    ENERGY: TasmotaReading


class TasmotaStatus(TypedDict):
    """What Tasmota answers to `Status 10`, as far as it is needed."""

    StatusSNS: TasmotaSensors


class ShellyEnergy(TypedDict):
    """`aenergy`."""

    total: NotRequired[FiniteFloat | None]
    """Wh."""


class ShellyStatus(TypedDict):
    """What a Shelly answers to `Switch.GetStatus`, as far as it is needed."""

    apower: FiniteFloat
    """W."""
    aenergy: NotRequired[ShellyEnergy]


def read_plug(meter: TasmotaMeter | ShellyMeter) -> tuple[float, Counter | None]:
    """Power in W and the energy counter of a plug; None where it has no counter.

    Raises:
        OSError: it does not answer.
        RecordError: it answers something else.
    """
    base = meter.url.rstrip("/")
    if isinstance(meter, TasmotaMeter):
        said = _get(f"{base}/cm?cmnd=Status%2010")
        energy = check(said, TasmotaStatus, base)["StatusSNS"]["ENERGY"]
        return energy["Power"], _counter(energy.get("Total"), 1000 * JOULES_PER_WH)
    said = _get(f"{base}/rpc/Switch.GetStatus?id={meter.switch}")
    status = check(said, ShellyStatus, base)
    energy_wh = status["aenergy"].get("total") if "aenergy" in status else None
    return status["apower"], _counter(energy_wh, JOULES_PER_WH)


def _counter(reading: float | None, unit_j: float) -> Counter | None:
    if reading is None:
        return None
    decimals = len(repr(reading).partition(".")[2])
    return Counter(reading * unit_j, unit_j / 10**decimals)


def _get(url: str) -> bytes:
    # No proxy: a plug is in the same network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=ANSWER_S) as response:
        content: bytes = response.read(100_000)
    return content


def read_log(meter: CsvMeter) -> list[Row]:
    """Rows of a USB meter's log, in order of time.

    Raises:
        OSError, ValueError, KeyError: it cannot be read, or lacks a column.
    """
    with Path(meter.path).expanduser().open(newline="", encoding="utf-8-sig") as file:
        rows = [
            (_stamp(row[meter.time_column]), float(row[meter.power_column]))
            for row in csv.DictReader(file)
        ]
    return [(at + meter.offset_s, power_w, None) for at, power_w in sorted(rows)]


def _stamp(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()
