"""Power meters that are read on the device itself.

Each is opened from the `meter` of a device's config and then read again and again.
"""

import math
import re
from functools import partial
from pathlib import Path

from typing_extensions import TypeIs

from llmpi.device.machine.environment import FirmwareError, firmware
from llmpi.device.machine.hwmon import Sensor
from llmpi.device.machine.metering import MeterError, Read, Reading, number
from llmpi.device.records import Meter, MeterHere, PmicMeter, RaplMeter
from llmpi.engine.records import Tier

TIERS: dict[str, Tier] = {
    "pmic": "pmic",
    "hwmon": "metered",
    "rapl": "estimated",
    "tasmota": "metered",
    "shelly": "metered",
    "csv": "metered",
    "constant": "estimated",
}
"""How good a number is; numbers of different tiers are never ranked against each other. RAPL
covers the processor's package only, by the processor's own model."""

RESOLUTION_W = {"tasmota": 1.0, "shelly": 0.1}
"""Step of the power these plugs show by default (their documentation); others are finer."""

ON_DEVICE = ("pmic", "hwmon", "rapl")
AT_WORKSTATION = ("tasmota", "shelly", "csv")


def is_here(meter: Meter) -> TypeIs[MeterHere]:
    """Whether it is read on the device itself."""
    return meter["kind"] in ON_DEVICE


POWERCAP = Path("/sys/class/powercap")


MOST_W = 1e5
"""No board and no plug takes more: what says so is mistaken."""


def plausible(power_w: float | None, counter_j: float | None) -> Reading:
    """A reading that is one.

    Raises:
        MeterError: it is no number, or beyond belief.
    """
    if power_w is not None and not abs(power_w) <= MOST_W:
        raise MeterError(f"it shows {power_w:g} W")
    if counter_j is not None and not math.isfinite(counter_j):
        raise MeterError(f"its counter shows {counter_j:g} J")
    return power_w, counter_j


def open_meter(meter: MeterHere) -> Read:
    """The function that reads the meter.

    Raises:
        MeterError: it is not there.
    """
    if meter["kind"] == "pmic":
        return partial(_pmic, meter)
    if meter["kind"] == "hwmon":
        return Sensor(meter)
    return Rapl(meter)


# --- the Raspberry Pi's own power chip ------------------------------------------------------------


def _pmic(meter: PmicMeter) -> Reading:
    """Sum over the rails that have both a voltage and a current, through the user's own line.

    `vcgencmd pmic_read_adc` prints lines such as `3V3_SYS_A current(1)=0.05A` and
    `3V3_SYS_V volt(9)=3.31V`.
    """
    try:
        said = firmware("pmic_read_adc")
    except FirmwareError as error:
        raise MeterError(str(error)) from None
    rails: dict[str, dict[str, float]] = {}
    for rail, unit, value in re.findall(r"(\w+)_([AV]) \w+\(\d+\)=(\d+\.?\d*)[AV]", said):
        rails.setdefault(rail, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    if not powers:
        raise MeterError(
            "vcgencmd pmic_read_adc names no rail with a voltage and a current; only a Raspberry "
            "Pi 5 has them"
        )
    return meter["scale"] * sum(powers) + meter["offset_w"], None


# --- the processor's own counter ---------------------------------------------------------------


class Rapl:
    """Intel's and AMD's energy counter of a processor package, which wraps around."""

    def __init__(self, meter: RaplMeter) -> None:
        folder = Path(meter["path"] or POWERCAP / "intel-rapl:0")
        self._counter = folder / "energy_uj"
        self._range = number(folder / "max_energy_range_uj")
        self._last = number(self._counter)
        self._turns = 0

    def __call__(self) -> Reading:
        now = number(self._counter)
        self._turns += now < self._last
        self._last = now
        return None, (now + self._turns * self._range) / 1e6
