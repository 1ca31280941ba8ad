"""The last canary's figures for Prometheus."""

import json
import logging
import threading
import time
from collections.abc import Callable

from prometheus_client import Counter, Gauge

from llmpi.device.monitor.exposition import Metrics
from llmpi.device.monitor.records import CanaryResult, Figure

log = logging.getLogger(__name__)

NOT_A_NUMBER = float("nan")
GAUGES: dict[Figure, tuple[str, str]] = {
    "em_pct": ("llmpi_canary_exact_match_ratio", "Exact match of the canary's answers"),
    "f1_pct": ("llmpi_canary_f1_ratio", "F1 of the canary's answers"),
    "top1_agreement_pct": (
        "llmpi_canary_top1_agreement_ratio",
        "Share of prefixes behind which the service finds the expected token likeliest",
    ),
    "latency_s": ("llmpi_canary_latency_seconds", "Median time of a canary's question"),
    "tg_tps": (
        "llmpi_canary_token_generation_tokens_per_second",
        "The engine's rate of token generation in the canary's speed request",
    ),
    "pp_tps": (
        "llmpi_canary_prompt_processing_tokens_per_second",
        "The engine's rate of prompt processing in the canary's speed request",
    ),
}


class CanaryMetrics:
    """Before the first canary and where one got no answer: not a number, never an old one."""

    def __init__(self, metrics: Metrics) -> None:
        self._gauges = {key: metrics(Gauge, *named) for key, named in GAUGES.items()}
        self._answered = metrics(
            Gauge, "llmpi_canary_answered", "1 if the service answered the last canary, else 0"
        )
        self._passed = metrics(Gauge, "llmpi_canary_passed", "1 if the last canary passed, else 0")
        self._ended = metrics(
            Gauge, "llmpi_canary_last_run_timestamp_seconds", "When the last canary ended"
        )
        for gauge in (*self._gauges.values(), self._answered, self._passed, self._ended):
            gauge.set(NOT_A_NUMBER)
        self._runs = metrics(
            Counter, "llmpi_canary_runs_total", "Canaries that ended, by outcome", ["outcome"]
        )
        for outcome in ("passed", "failed", "unanswered"):
            self._runs(outcome=outcome)

    def ended(self, record: CanaryResult, at: float) -> None:
        """Take in a record of `llmpi.device.monitor.canary.check` that ended `at` (Unix time)."""
        for key, gauge in self._gauges.items():
            figure = record[key]
            value = NOT_A_NUMBER if figure is None else figure
            gauge.set(value / 100 if key.endswith("_pct") else value)
        answered = record["latency_s"] is not None
        self._answered.set(answered)
        self._passed.set(record["status"] == "passed")
        self._ended.set(at)
        self._runs(outcome=record["status"] if answered else "unanswered").inc()

    def run(self, check: Callable[[], CanaryResult], every_s: float, end: threading.Event) -> None:
        """Let the canary sing until `end` is set."""
        while not end.is_set():
            record = check()
            self.ended(record, time.time())
            log.info("canary: %s", json.dumps(record))
            end.wait(every_s)
