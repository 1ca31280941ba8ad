"""Devices: this machine, those behind SSH, and groups of such that are equal."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.fields import Bytes, Id, KeyPath, LocalPath, Part
from llmpi.study.meters import Meter, NoMeter

Preset = Literal[
    "pi5-2gb",
    "pi5-4gb",
    "pi5-8gb",
    "pi5-16gb",
    "pi500-plus",
    "pi4-4gb",
    "pi4-8gb",
    "pi-zero2w",
    "pi3-1gb",
]
Storage = Literal["microsd", "usb", "nvme"]


class MeasuredDevice(Part):
    """What every device can say on how it is measured."""

    is_here: ClassVar[bool] = False  # whether it is this machine: no network in between
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of the engine; by default one for each core it may use; where there are slower
    cores beside fast ones, for each of these."""
    preset: Preset | None = None
    """What board it is, for `llmpi plan`: until the device is measured, its speed and its memory
    are taken from this board's."""
    storage: Storage | None = None
    """What its store lies on, for `llmpi plan`: `microsd`, `usb` or `nvme`. What does not fit in
    memory is read from there again for every token. Where it is not stated a plan reckons with
    all of them, and a microSD card is the likely one."""
    meter: Meter = NoMeter()
    """Where its power is read."""
    idle_s: float = Field(default=0, ge=0, le=3600)
    """Seconds of rest before each measurement, for the idle power and temperature."""
    cool_below_c: float | None = Field(default=None, ge=20, le=100)
    """Wait until the device is cooler than this, degrees Celsius, before each measurement."""
    cool_limit_s: float = Field(default=600, ge=0)
    """Longest wait for that; then it is measured as warm as it is, and the record says so."""
    others_at_most_pct: float = Field(default=5, ge=0, le=100)
    """What other programs may have of the time of the processors in use, per cent. A repetition
    with more is *disturbed*: it is measured again, and where that does not help, its cell is marked
    and nothing is decided on it."""


class Limits(Part):
    """A smaller machine within this one, by a control group of the kernel; needs root."""

    memory: Bytes | None = None
    """Memory, page cache included, such as `4G`."""
    cpus: float | None = Field(default=None, gt=0, le=1024)
    """Processors' worth of time. Set `threads` to go with it."""


class LocalDevice(MeasuredDevice):
    """This machine. A benchmark on it has the machine to itself."""

    is_here: ClassVar[bool] = True

    transport: Literal["local"]
    """`local`: no network in between."""
    store: LocalPath | None = None
    """Folder for the model files; by default under `results/`."""
    limits: Limits | None = None
    """Measure as on a smaller machine, for whoever has no Pi."""


class EngineWheel(Part):
    """An engine of your own making."""

    wheel: LocalPath
    """Wheel of llama-cpp-python on this machine, built for the device. A relative path starts where
    Snakemake runs."""


Engine = Annotated[
    Annotated[Literal["auto", "cross", "native"], Tag("name")]
    | Annotated[EngineWheel, Tag("wheel")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "wheel"),
]


class SshSettings(MeasuredDevice):
    """How a machine is reached over SSH and what llmpi has there."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Port; by default what `~/.ssh/config` says, else 22."""
    user: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][\w.@-]*$")
    """User; by default what `~/.ssh/config` says, else yours."""
    identity_file: KeyPath | None = None
    """Private key; by default the agent's keys and `~/.ssh/config`."""
    known_hosts: LocalPath | None = None
    """File of known host keys; by default `~/.ssh/known_hosts` and the system's."""
    host_key: Literal["known", "accept-new"] = "known"
    """`known`: a host whose key is not known is refused. `accept-new`: a new host's key is written
    down, as `ssh -o StrictHostKeyChecking=accept-new` does; a changed key is refused still."""
    connect_timeout_s: float = Field(default=10, gt=0, le=600)
    """Seconds to wait for the connection."""
    reconnect_s: float = Field(default=600, ge=0)
    """Seconds a link may be lost during a measurement, which goes on meanwhile."""
    engine: Engine = "auto"
    """How the device gets its engine. `cross`: cross-compiled on this machine, installed there
    offline. `native`: compiled on the device, which needs a compiler and the internet. `auto`:
    `cross` for aarch64, else `native`. Or `{wheel: PATH}`."""
    server_wheel: LocalPath | None = None
    """Wheel of llama-server on this machine, made for the device: what a service there runs. By
    default `llmpi service install` builds it here, once, for any aarch64 device, some minutes."""
    march: str | None = Field(default=None, pattern=r"^armv[89][\w.+-]*$")
    """Architecture to cross-compile for, as gcc's -march spells it; by default detected: a Pi 5 is
    armv8.2-a+dotprod+fp16, a Pi 4 armv8-a."""
    python: str = Field(default="python3", min_length=1)
    """Python 3.11 or later on the device; llmpi makes its own venv with it."""
    store: str = Field(default="~/.llmpi", min_length=1)
    """Folder on the device for the venv and the model files; best on its fastest medium."""
    quota: Bytes | None = None
    """What llmpi's model files may take there, such as `32G`; the least recently used ones are
    removed to make room. By default what the disk has."""


HOST = r"[A-Za-z0-9_:][\w.:%-]*"
Host = Annotated[str, Field(pattern=rf"^{HOST}$")]


class SshDevice(SshSettings):
    """A Raspberry Pi, or any Linux machine with Python 3.11, reached over SSH.

    What stands in `~/.ssh/config` for the host is honoured; what stands here wins."""

    transport: Literal["ssh"]
    """`ssh`: host keys are verified, an unknown host is refused."""
    host: Host
    """Host name, address, or a `Host` of `~/.ssh/config`."""
    group: Id | None = None
    """The group of equal boards it belongs to. Those of an `ssh-group` have it by themselves."""


SingleDevice = LocalDevice | SshDevice
"""One machine."""


class Board(SshSettings):
    """A board of a group: its host, or a mapping of `host` and what differs from the group."""

    host: Host
    """Host name, address, or a `Host` of `~/.ssh/config`."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        if not re.fullmatch(HOST, given):
            raise PydanticCustomError("host", "'{value}' is no host name", {"value": given})
        return {"host": given}


class SshGroup(SshSettings):
    """Equal boards, each reached over SSH: one entry for all of them.

    Speed is measured on every board, as boards differ; what does not depend on the board is done on
    one of them. Each is a device of its own, named `GROUP.BOARD`."""

    transport: Literal["ssh-group"]
    """`ssh-group`: of the keys of `ssh` all but `host` may stand here, for all boards."""
    boards: dict[Id, Board] = Field(min_length=1)
    """The boards by id, each its host, or a mapping of `host` and what differs from the group:
    `{a: pi-a.local, b: {host: pi-b.local, meter: ...}}`."""

    def devices(self, name: str) -> dict[str, SshDevice]:
        """Its boards as devices of the group `name`."""
        shared = {
            **self.model_dump(exclude_unset=True, exclude={"boards"}),
            "transport": "ssh",
            "group": name,
        }
        return {
            f"{name}.{board}": SshDevice.model_validate(
                {**shared, **own.model_dump(exclude_unset=True)}
            )
            for board, own in self.boards.items()
        }


Device = Annotated[LocalDevice | SshDevice | SshGroup, Field(discriminator="transport")]


def single_devices(devices: Mapping[str, Device]) -> dict[str, SingleDevice]:
    """The devices with every board of a group in the group's place.

    Raises:
        PydanticCustomError: a device has the name of a board or of a group.
    """
    found: dict[str, SingleDevice] = {}
    for name, device in devices.items():
        boards: Mapping[str, SingleDevice] = (
            device.devices(name) if isinstance(device, SshGroup) else {name: device}
        )
        for board in boards:
            if board in found or (board != name and board in devices):
                raise PydanticCustomError(
                    "duplicate", "'{value}' stands here twice", {"value": board}
                )
        found |= boards
    for name in found:
        if any(group_of(device) == name for device in found.values()):
            raise PydanticCustomError(
                "duplicate", "'{value}' is a device and a group", {"value": name}
            )
    return found


def group_of(device: SingleDevice) -> str | None:
    """The group of equal boards that a device belongs to."""
    return device.group if isinstance(device, SshDevice) else None


if TYPE_CHECKING:
    Devices = dict[str, SingleDevice]  # as it is once it was validated
else:
    Devices = Annotated[dict[Id, Device], AfterValidator(single_devices)]
