"""Power meters."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.fields import KeyPath, LocalPath, Part, Url


class Metered(Part):
    """What every power meter can say."""

    accuracy_pct: float | None = Field(default=None, ge=0, le=100)
    """What its maker promises, per cent of the reading; goes into the uncertainty."""


class OnDevice(Metered):
    """A meter that the device itself reads."""


class NoMeter(Part):
    """No meter, no joules."""

    kind: Literal["none"] = "none"
    """`none`: energy stays empty."""


class PmicMeter(OnDevice):
    """The Raspberry Pi 5's own power chip (`vcgencmd pmic_read_adc`), tier `pmic`.

    It does not see what hangs on the 5 V rail: USB, HATs, an NVMe disk."""

    kind: Literal["pmic"]
    """`pmic`: the sum of its rails, times `scale`, plus `offset_w`."""
    scale: float = Field(default=1.0, gt=0)
    """From your own comparison with a meter."""
    offset_w: float = 0.0
    """From your own comparison with a meter, W."""
    interval_s: float = Field(default=0.2, ge=0.1, le=10)
    """Seconds between samples; a call takes milliseconds of the processor."""


class HwmonMeter(OnDevice):
    """A sensor of the kernel's hwmon with a `power1_input`, such as an INA219 or INA260 on I2C."""

    kind: Literal["hwmon"]
    """`hwmon`: tier `metered`."""
    chip: str = Field(default="ina219", min_length=1)
    """Name of the chip, as its `name` file says."""
    address: int | None = Field(default=None, ge=0x03, le=0x77)
    """Of the chip on the I2C bus, such as `0x40`, where there are several of the name."""
    shunt_ohm: float | None = Field(default=None, gt=0, le=10)
    """Resistance of the shunt on the sensor's board: `0.1` where R100 is printed on it. By default
    what the kernel was told (`shunt_resistor`); it takes 0.01 for granted, which most boards with
    an INA219 have not, so that one must be told."""
    path: str | None = None
    """Its power file on the device, in place of looking for the chip."""
    interval_s: float = Field(default=0.1, ge=0.02, le=10)
    """Seconds between samples."""


class RaplMeter(OnDevice):
    """The energy counter of an x86 processor package. Estimated, and without the board."""

    kind: Literal["rapl"]
    """`rapl`: tier `estimated`. Reading it needs root on most systems."""
    path: str | None = None
    """Its powercap folder; by default `intel-rapl:0`."""
    interval_s: float = Field(default=0.1, ge=0.02, le=10)
    """Seconds between samples."""


class Plug(Metered):
    """What every smart plug can say; it is polled from this machine."""

    url: Url
    """Address of the plug, such as `http://192.168.1.20`."""
    user: str | None = Field(default=None, min_length=1, pattern=r"^[^:\s]+$")
    """Who it lets in, where it asks for a password; by default `admin`."""
    password_file: KeyPath | None = None
    """File on this machine whose first line is the password."""
    interval_s: float = Field(default=1.0, ge=0.2, le=60)
    """Seconds between samples."""

    @model_validator(mode="after")
    def _lets_in(self) -> Self:
        if self.user and not self.password_file:
            raise PydanticCustomError("user", "a user needs a password_file", {})
        return self


class TasmotaMeter(Plug):
    """A smart plug with Tasmota, polled from this machine. Whole watts: use long measurements."""

    kind: Literal["tasmota"]
    """`tasmota`: tier `metered`, at the plug."""
    channel: int | None = Field(default=None, ge=1, le=8)
    """Number of the channel, of a plug that has several."""


class ShellyMeter(Plug):
    """A Shelly plug of any generation, polled from this machine."""

    kind: Literal["shelly"]
    """`shelly`: tier `metered`, at the plug."""
    switch: int = Field(default=0, ge=0, le=15)
    """Number of the switch, of a plug that has several."""


class CsvMeter(Metered):
    """The log of a USB meter, aligned by the clock."""

    kind: Literal["csv"]
    """`csv`: tier `metered`; the file must reach beyond the measurement when that ends."""
    path: LocalPath
    """The file on this machine."""
    time_column: str = "time"
    """Column of the stamps: seconds since 1970, or ISO 8601."""
    power_column: str = "power_w"
    """Column of the power, W."""
    offset_s: float = 0.0
    """Added to its stamps to get this machine's time."""


class ConstantMeter(Metered):
    """A stated wattage, tier `estimated`."""

    kind: Literal["constant"]
    """`constant`: the same power at all times."""
    power_w: float = Field(gt=0)
    """Power under load, W."""
    idle_power_w: float | None = Field(default=None, ge=0)
    """Power at rest, W."""


Meter = Annotated[
    NoMeter
    | PmicMeter
    | HwmonMeter
    | RaplMeter
    | TasmotaMeter
    | ShellyMeter
    | CsvMeter
    | ConstantMeter,
    Field(discriminator="kind"),
]
