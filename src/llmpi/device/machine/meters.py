"""Power meters that are read on the device itself.

Each is opened from the `meter` of a device's config and then read again and again. A reading is
(power in W or None, energy counter in J or None).
"""

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from typing_extensions import TypeIs

from llmpi.device.machine.environment import FirmwareError, firmware
from llmpi.device.records import HwmonMeter, Meter, MeterHere, PmicMeter, RaplMeter
from llmpi.engine.records import Tier

Reading = tuple[float | None, float | None]
Read = Callable[[], Reading]

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


HWMON = Path("/sys/class/hwmon")
POWERCAP = Path("/sys/class/powercap")


MOST_W = 1e5
"""No board and no plug takes more: what says so is mistaken."""


class MeterError(Exception):
    """The meter cannot be read; the message is for a person."""


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
        source = _hwmon_input(meter)
        return lambda: (_number(source) / 1e6, None)  # power1_input is in microwatts
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


# --- the kernel's own sensors ---------------------------------------------------------------------


def _hwmon_input(meter: HwmonMeter) -> Path:
    if meter["path"]:
        return Path(meter["path"])
    found = [
        chip / "power1_input"
        for chip in sorted(HWMON.glob("hwmon*"))
        if _text(chip / "name") == meter["chip"] and (chip / "power1_input").exists()
    ]
    if len(found) != 1:
        raise MeterError(
            f"{len(found)} chips named {meter['chip']!r} with a power1_input under {HWMON}; give "
            "the meter's 'path'"
        )
    return found[0]


class Rapl:
    """Intel's and AMD's energy counter of a processor package, which wraps around."""

    def __init__(self, meter: RaplMeter) -> None:
        folder = Path(meter["path"] or POWERCAP / "intel-rapl:0")
        self._counter = folder / "energy_uj"
        self._range = _number(folder / "max_energy_range_uj")
        self._last = _number(self._counter)
        self._turns = 0

    def __call__(self) -> Reading:
        now = _number(self._counter)
        self._turns += now < self._last
        self._last = now
        return None, (now + self._turns * self._range) / 1e6


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError) as error:
        raise MeterError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
