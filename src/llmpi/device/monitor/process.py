"""A small process beside a service: the machine and the canary for Prometheus.

`llmpi-device monitor --config FILE` serves `/metrics` until it is told to end (SIGTERM). Between
two canaries it does nothing but answer Prometheus and read the power meter now and then.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client import start_http_server

from llmpi.device.monitor import canary
from llmpi.device.monitor.canary_metrics import CanaryMetrics
from llmpi.device.monitor.config import Config, ConfigError, read_config
from llmpi.device.monitor.exposition import Metrics
from llmpi.device.monitor.machine_metrics import MachineMetrics
from llmpi.device.monitor.meter_metrics import Metering
from llmpi.engine.help_text import described
from llmpi.engine.shown import shown

log = logging.getLogger(__name__)


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
        prog="llmpi-device monitor",
        **described(
            "Export the machine and the canary to Prometheus.\n"
            "Serves /metrics on loopback until it is told to end (SIGTERM).",
            "llmpi-device monitor --config monitor.json",
        ),
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
        print(shown(f"llmpi-device monitor: {error}"), file=sys.stderr)
        return 2
    log.info("metrics at http://%s/metrics", config.listen)
    end.wait()
    stop()
    return 0
