"""A power sensor of the kernel's hwmon, such as an INA219, INA226, INA238 or INA260 on I2C.

What it shows is a voltage over a resistor, the shunt, and the kernel has to be told how large that
is: it takes 0.01 Ω for granted, and most boards with an INA219 have 0.1 Ω (printed on it as R100).
Unmended that is ten times too much power.
"""

from pathlib import Path

from llmpi.device.machine.environment import board
from llmpi.device.machine.metering import MeterError, Reading, number, text
from llmpi.device.records import HwmonMeter

HWMON = Path("/sys/class/hwmon")

TAKEN_FOR_GRANTED_UOHM = 10_000
"""The drivers' default (ina2xx.c of Linux)."""
SUPPLIES_W = {
    "Raspberry Pi 5": 25.5,
    "Raspberry Pi Compute Module 5": 25.5,
    "Raspberry Pi 500": 25.5,
    "Raspberry Pi 4": 15.3,
    "Raspberry Pi 400": 15.3,
    "Raspberry Pi Compute Module 4": 15.3,
    "Raspberry Pi 3": 12.75,
    "Raspberry Pi Zero": 12.5,
}
"""What the power supply that is sold with a board gives (Raspberry Pi's documentation)."""
LEAST_W = 0.2
"""No board that runs takes less."""


class Sensor:
    """Reads it; its power goes by the shunt that the study names, else by the kernel's.

    Raises:
        MeterError: it is not there, or its shunt is not known or cannot be right.
    """

    def __init__(self, meter: HwmonMeter) -> None:
        self._source = Path(meter["path"]) if meter["path"] else _found(meter)
        self._scale = _scale(self._source.parent, meter)
        self._check(self()[0] or 0.0)

    def __call__(self) -> Reading:
        return self._scale * number(self._source) / 1e6, None  # power1_input is in microwatts

    def _check(self, power_w: float) -> None:
        most_w = next((w for name, w in SUPPLIES_W.items() if board().startswith(name)), None)
        if most_w is not None and not LEAST_W <= power_w <= 1.2 * most_w:
            raise MeterError(
                f"it shows {power_w:.3g} W, and a {board()} takes {LEAST_W:g} to {most_w:g}: its "
                "shunt is another one; state the one that is on the sensor as 'shunt_ohm' (R100 "
                "printed on it is 0.1)"
            )


def _found(meter: HwmonMeter) -> Path:
    chips = [
        chip
        for chip in sorted(HWMON.glob("hwmon*"))
        if text(chip / "name") == meter["chip"] and (chip / "power1_input").exists()
    ]
    at = meter["address"]
    here = [chip for chip in chips if at is None or _address(chip) == at]
    if len(here) == 1:
        return here[0] / "power1_input"
    named = f"{meter['chip']!r}" + ("" if at is None else f" at 0x{at:02x}")
    if not chips:
        raise MeterError(
            f"no chip named {named} with a power1_input under {HWMON}; have the kernel find it: "
            f"echo {meter['chip']} 0x{at or 0x40:02x} | sudo tee "
            "/sys/bus/i2c/devices/i2c-1/new_device"
        )
    there = ", ".join(f"0x{_address(chip) or 0:02x}" for chip in chips)
    raise MeterError(
        f"{len(here)} chips named {named} with a power1_input under {HWMON}; there are some at "
        f"{there}: give the meter's 'address', or its 'path'"
    )


def _address(chip: Path) -> int | None:
    """On the I2C bus: its device's folder is called such as 1-0040."""
    _, _, address = (chip / "device").resolve().name.partition("-")
    try:
        return int(address, 16)
    except ValueError:
        return None


def _scale(folder: Path, meter: HwmonMeter) -> float:
    """By which the kernel's power is to be multiplied: it divided by the shunt that it knows."""
    told = text(folder / "shunt_resistor")  # in micro-ohm; an INA260 has its shunt inside
    known_uohm = int(told) if told.isdigit() and int(told) else None
    if meter["shunt_ohm"] is not None:
        if known_uohm is None:
            raise MeterError(
                f"{folder} does not tell which shunt the kernel reckons with, so 'shunt_ohm' "
                "cannot be held against it; leave it out"
            )
        return known_uohm / (1e6 * meter["shunt_ohm"])
    if known_uohm == TAKEN_FOR_GRANTED_UOHM and text(folder / "name") == "ina219":
        raise MeterError(
            "nobody told the kernel its shunt: it takes 0.01 Ω for granted, and most boards with "
            "an INA219 have 0.1 Ω. State the one that is on it as 'shunt_ohm' (R100 printed on it "
            "is 0.1)"
        )
    return 1.0
