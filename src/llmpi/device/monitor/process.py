"""A small process beside a service: the machine and the canary for Prometheus.

`llmpi-device monitor --config FILE` serves `/metrics` until it is told to end (SIGTERM). Between
two canaries it does nothing but answer Prometheus and read the power meter now and then.
"""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server

from llmpi.device.machine.meters import ON_DEVICE
from llmpi.device.monitor import canary
from llmpi.device.monitor.canary_metrics import CanaryMetrics
from llmpi.device.monitor.exposition import Metrics
from llmpi.device.monitor.machine_metrics import MachineMetrics
from llmpi.device.monitor.meter_metrics import Metering

log = logging.getLogger(__name__)


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
    """What the monitor looks after. `llmpi.operate.monitor_setup` writes it."""

    device: str
    model: str
    quant: str
    release: str
    store: str
    """Folder with the models: its disk is watched."""
    canary: Canary
    listen: str = "127.0.0.1:9711"
    """Address and port of `/metrics`. Whoever reaches it can read it."""
    meter: dict | None = None
    """Fields of a study's meter `pmic`, `hwmon` or `rapl`; none: no power, no energy."""
    meter_interval_s: float = 5.0
    """Seconds between two readings; one of the Pi's chip costs milliseconds of the processor."""


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
    config: Config = _filled(Config, text, str(path))
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


def _filled(kind: Any, given: Any, where: str) -> Any:
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
        wanted: Any = int | float if field.type is float else field.type
        if not isinstance(value, wanted):
            raise ConfigError(f"{where}: {field.name}: {value!r} is no {field.type}")
        if field.type is float and value <= 0:
            raise ConfigError(f"{where}: {field.name}: must be above 0")
    try:
        return kind(**values)
    except TypeError as error:  # names the keys that are missing
        raise ConfigError(f"{where}: {str(error).partition(') ')[2] or error}") from None


def start(config: Config, end: threading.Event) -> Callable[[], None]:
    """Serve the metrics and let the canary sing, until `end` is set.

    Returns:
        What stops the server.

    Raises:
        llmpi.device.monitor.canary.ExpectationError: a file the config names is wrong.
        OSError: the address cannot be had.
    """
    expected = canary.read_expectation(Path(config.canary.expect))
    key = canary.read_key(Path(config.canary.key_file) if config.canary.key_file else None)
    ask = canary.service(config.canary.url, key=key, timeout_s=config.canary.timeout_s)
    names = ("device", "model", "quant", "release")
    labels = {name: str(getattr(config, name)) for name in names}
    metrics = Metrics(labels)
    metrics.registry.register(MachineMetrics(labels, Path(config.store)))
    singing = CanaryMetrics(metrics)
    jobs: list[Callable[[], None]] = [
        lambda: singing.run(lambda: canary.check(expected, ask), config.canary.interval_s, end)
    ]
    if config.meter:
        metering = Metering(metrics, config.meter)
        jobs.append(lambda: metering.run(config.meter_interval_s, end))
    host, _, port = config.listen.rpartition(":")
    server, _ = start_http_server(int(port), host.strip("[]"), metrics.registry)
    for job in jobs:
        threading.Thread(target=job, daemon=True).start()
    return server.shutdown


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="llmpi-device monitor", description="Export the machine and the canary to Prometheus."
    )
    parser.add_argument("--config", required=True, type=Path, help="JSON file")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    try:
        config = read_config(args.config)
        stop = start(config, end)
    except (ConfigError, canary.ExpectationError, OSError) as error:
        print(f"llmpi-device monitor: {error}", file=sys.stderr)
        return 2
    log.info("metrics at http://%s/metrics", config.listen)
    end.wait()
    stop()
    return 0
