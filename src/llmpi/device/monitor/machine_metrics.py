"""The machine's own readings for Prometheus, read when it asks and not before."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmpi.device.machine import environment
from llmpi.engine.records import Throttled


class MachineMetrics(Collector):
    """Heat, frequency, throttling, memory, swap, disk; what the machine does not tell is left out.

    Args:
        labels: of every series.
        store: the folder with the models, whose disk counts.
    """

    def __init__(self, labels: Mapping[str, str], store: Path) -> None:
        self._names, self._values = list(labels), list(labels.values())
        self._store = store
        self._machine = environment.machine()

    def collect(self) -> Iterator[Metric]:
        now, disk = environment.conditions(), environment.storage(self._store)
        single = {
            "llmpi_temperature_celsius": (now["temperature_c"], "The hottest thermal zone"),
            "llmpi_memory_size_bytes": (self._machine["memory_bytes"], "Memory of the machine"),
            "llmpi_memory_available_bytes": (
                now["memory_available_bytes"],
                "Memory that programs can have without swapping",
            ),
            "llmpi_swap_size_bytes": (self._machine["swap_bytes"], "Swap of the machine"),
            "llmpi_swap_free_bytes": (now["swap_free_bytes"], "Swap that is free"),
            "llmpi_disk_size_bytes": (disk["size_bytes"], "Size of the disk with the models"),
            "llmpi_disk_free_bytes": (disk["free_bytes"], "Free on the disk with the models"),
        }
        for name, (value, meaning) in single.items():
            if value is not None:
                yield self._gauge(name, meaning, {(): value})
        if now["frequency_hz"]:
            by_cpu = {(str(cpu),): hz for cpu, hz in enumerate(now["frequency_hz"])}
            yield self._gauge("llmpi_cpu_frequency_hertz", "Frequency now", by_cpu, "cpu")
        if now["throttled"]:
            yield from self._throttled(now["throttled"])
        if (swapped := swapped_in_bytes()) is not None:
            family = CounterMetricFamily(
                "llmpi_swapped_in_bytes_total", "Read back from swap since boot", labels=self._names
            )
            family.add_metric(self._values, swapped)
            yield family

    def _throttled(self, said: Throttled) -> Iterator[Metric]:
        """The firmware's flags, each 0 or 1."""
        now, since_boot = said["now"], said["since_boot"]
        for reasons, name, meaning in (
            (now, "llmpi_throttled", "1 where the firmware limits the board now, by reason"),
            (since_boot, "llmpi_throttled_since_boot", "1 where it did so since boot, by reason"),
        ):
            flags = {(reason,): reason in reasons for reason in environment.THROTTLED}
            yield self._gauge(name, meaning, flags, "reason")

    def _gauge(self, name: str, meaning: str, values: Mapping[Any, Any], *own: str) -> Metric:
        family = GaugeMetricFamily(name, meaning, labels=[*self._names, *own])
        for mine, value in values.items():  # by the values of its own labels
            family.add_metric([*self._values, *mine], float(value))
        return family


def swapped_in_bytes() -> int | None:
    """What was read back from swap since boot (`pswpin` of /proc/vmstat, in pages)."""
    try:
        lines = (environment.PROC / "vmstat").read_text().splitlines()
    except OSError:
        return None
    pages = dict(line.split(maxsplit=1) for line in lines)
    return int(pages["pswpin"]) * os.sysconf("SC_PAGESIZE") if "pswpin" in pages else None
