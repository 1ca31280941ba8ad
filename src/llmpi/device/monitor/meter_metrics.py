"""A power meter read now and then, its power and energy for Prometheus."""

import logging
import threading
import time
from collections.abc import Callable

from prometheus_client import Counter, Gauge

from llmpi.device.machine.metering import MeterError, Read
from llmpi.device.machine.meters import TIERS, open_meter
from llmpi.device.monitor.exposition import Metrics
from llmpi.device.records import MeterHere

log = logging.getLogger(__name__)


class Metering:
    """Integrates a meter's power (trapezoid rule), or takes its own counter's difference.

    A reading that fails leaves a gap in the energy: nothing is made up for it.

    Args:
        clock: seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        meter: MeterHere,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter, self._clock = meter, clock
        self._read: Read | None = None
        self._last: tuple[float, float | None, float | None] | None = None
        tier = TIERS[meter["kind"]]
        meanings = "by tier: metered, pmic (the Pi's own chip) or estimated"
        self.power = metrics(Gauge, "llmpi_power_watts", f"Power, {meanings}", ["tier"])(tier=tier)
        self.energy = metrics(
            Counter, "llmpi_energy_joules_total", f"Energy, {meanings}", ["tier"]
        )(tier=tier)
        self.failures = metrics(
            Counter, "llmpi_meter_failures_total", "Readings of the power meter that failed"
        )

    def sample(self) -> None:
        """Read the meter once."""
        try:
            self._read = self._read or open_meter(self._meter)
            power_w, counter_j = self._read()
        except MeterError as error:
            log.warning("the meter failed: %s", error)
            self.failures.inc()
            self._last = None
            self.power.set(float("nan"))
            return
        now = self._clock()
        if self._last:
            before, before_w, before_j = self._last
            if counter_j is not None and before_j is not None:
                spent_j = counter_j - before_j
                power_w = spent_j / (now - before) if power_w is None else power_w
            else:
                assert power_w is not None and before_w is not None
                spent_j = (now - before) * (power_w + before_w) / 2
            self.energy.inc(max(0.0, spent_j))
        if power_w is not None:
            self.power.set(power_w)
        self._last = now, power_w, counter_j

    def run(self, every_s: float, end: threading.Event) -> None:
        """Sample until `end` is set."""
        while not end.is_set():
            self.sample()
            end.wait(every_s)
