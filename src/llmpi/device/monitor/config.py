"""What the monitor of a device looks after: made on the workstation, read on the device."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from llmpi.device.machine.meters import ON_DEVICE
from llmpi.device.monitor import canary
from llmpi.device.records import MeterHere


class ConfigError(Exception):
    """The config is wrong; the message names the key."""


@dataclass(frozen=True)
class Canary:
    """How the service is asked."""

    url: str
    """Its address."""
    expect: str
    """File of `llmpi.operate.expectation`."""
    interval_s: float = 3600.0
    """From the end of one canary to the next."""
    key_file: str | None = None
    """File with its API key."""
    timeout_s: float = 300.0
    """Of a request."""


@dataclass(frozen=True)
class Config:
    """What the monitor looks after. `llmpi.operate.service` writes it."""

    device: str
    model: str
    quant: str
    release: str
    store: str
    """Folder with the models: its disk is watched."""
    canary: Canary
    listen: str = "127.0.0.1:9711"
    """Address and port of `/metrics`. Whoever reaches it can read it."""
    meter: MeterHere | None = None
    """None: no power, no energy."""
    meter_interval_s: float = 5.0
    """Seconds between two readings; one of the Pi's chip costs milliseconds of the processor."""


Part = TypeVar("Part", Config, Canary)
CLASSES: dict[Any, Any] = {float: int | float, MeterHere | None: dict | None}
"""What a field of this type is in JSON, where it is not that itself."""


def read_config(path: Path) -> Config:
    """The config in a JSON file.

    Raises:
        ConfigError: it cannot be read, lacks a key or has one too many.
    """
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: no valid JSON: {error}") from None
    config = _filled(Config, text, str(path))
    host, _, port = config.listen.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{path}: listen: {config.listen!r} is not ADDRESS:PORT")
    try:
        canary.http_url(config.canary.url)
    except ValueError as error:
        raise ConfigError(f"{path}: canary: url: {error}") from None
    if config.meter and config.meter.get("kind") not in ON_DEVICE:
        raise ConfigError(
            f"{path}: meter: kind {config.meter.get('kind')!r} is not read on the device; one of "
            f"{', '.join(ON_DEVICE)}, or no meter"
        )
    return config


def _filled(kind: type[Part], given: object, where: str) -> Part:
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: is no JSON object")
    known = {field.name for field in fields(kind)}
    if unknown := given.keys() - known:
        raise ConfigError(f"{where}: knows no key {sorted(unknown)[0]!r}")
    values = dict(given)
    if kind is Config and "canary" in values:
        values["canary"] = _filled(Canary, values["canary"], f"{where}: canary")
    for field in (field for field in fields(kind) if field.name in values):
        value = values[field.name]
        wanted = CLASSES.get(field.type, field.type)
        if not isinstance(value, wanted):
            raise ConfigError(f"{where}: {field.name}: {value!r} is no {wanted}")
        if field.type is float and value <= 0:
            raise ConfigError(f"{where}: {field.name}: must be above 0")
    try:
        return kind(**values)
    except TypeError as error:  # names the keys that are missing
        raise ConfigError(f"{where}: {str(error).partition(') ')[2] or error}") from None
