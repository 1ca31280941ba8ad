"""A power sensor of the kernel: which one it is, and which shunt it has."""

from pathlib import Path
from typing import Any

import pytest

from llmpi.device.machine import environment, hwmon
from llmpi.device.machine.hwmon import Sensor
from llmpi.device.machine.metering import MeterError

PI5 = "Raspberry Pi 5 Model B Rev 1.0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hwmon, "HWMON", tmp_path / "class/hwmon")
    monkeypatch.setattr(environment, "SYS", tmp_path)
    model = tmp_path / "firmware/devicetree/base/model"
    model.parent.mkdir(parents=True)
    model.write_text(PI5 + "\0")
    return tmp_path


def chip(
    machine: Path, number: int, power_w: float, *, name: str = "ina219", shunt_uohm: int | None
) -> None:
    """One on the bus at 0x40 and its number, as ina2xx.c shows it."""
    folder = machine / f"class/hwmon/hwmon{number}"
    device = machine / f"devices/i2c-1/1-00{0x40 + number:02x}"
    for made in (folder, device):
        made.mkdir(parents=True)
    (folder / "device").symlink_to(device)
    (folder / "name").write_text(f"{name}\n")
    (folder / "power1_input").write_text(f"{power_w * 1e6:.0f}\n")
    if shunt_uohm is not None:
        (folder / "shunt_resistor").write_text(f"{shunt_uohm}\n")


def sensor(**meter: Any) -> Sensor:
    default = {"kind": "hwmon", "chip": "ina219", "address": None, "shunt_ohm": None, "path": None}
    return Sensor({**default, **meter})


def test_the_shunt_of_the_study_goes_before_the_kernels(machine: Path) -> None:
    chip(machine, 0, 50.0, shunt_uohm=10_000)
    assert sensor(shunt_ohm=0.1)() == (pytest.approx(5.0), None)


def test_a_shunt_that_the_kernel_was_told(machine: Path) -> None:
    chip(machine, 0, 5.0, shunt_uohm=100_000)
    assert sensor()() == (pytest.approx(5.0), None)


def test_a_shunt_inside_the_chip(machine: Path) -> None:
    chip(machine, 0, 5.0, name="ina260", shunt_uohm=None)
    assert sensor(chip="ina260")() == (pytest.approx(5.0), None)
    with pytest.raises(MeterError, match="leave it out"):
        sensor(chip="ina260", shunt_ohm=0.002)


def test_what_the_kernel_takes_for_granted_is_not_believed(machine: Path) -> None:
    chip(machine, 0, 8.0, shunt_uohm=10_000)
    with pytest.raises(MeterError, match=r"takes 0\.01 Ω for granted.*'shunt_ohm'"):
        sensor()


@pytest.mark.parametrize(("power_w", "shunt_ohm"), [(50.0, 0.01), (5.0, 1.0)])
def test_a_shunt_that_is_wrong_by_ten(machine: Path, power_w: float, shunt_ohm: float) -> None:
    chip(machine, 0, power_w, shunt_uohm=10_000)
    with pytest.raises(MeterError, match=r"a Raspberry Pi 5 .* takes 0\.2 to 25\.5"):
        sensor(shunt_ohm=shunt_ohm)


def test_one_of_two(machine: Path) -> None:
    chip(machine, 0, 4.0, shunt_uohm=100_000)
    chip(machine, 1, 6.0, shunt_uohm=100_000)
    with pytest.raises(MeterError, match=r"2 chips named 'ina219' .* at 0x40, 0x41"):
        sensor()
    assert sensor(address=0x41)() == (pytest.approx(6.0), None)
    with pytest.raises(MeterError, match="0 chips named 'ina219' at 0x45"):
        sensor(address=0x45)


def test_none_is_found_by_the_kernel(machine: Path) -> None:
    with pytest.raises(MeterError, match=r"echo ina219 0x44 \| sudo tee"):
        sensor(address=0x44)
