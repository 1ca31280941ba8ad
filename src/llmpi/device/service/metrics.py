"""What a service counts, for Prometheus: its requests, and what the engine says of each."""

from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

from llmpi import __version__
from llmpi.device.monitor.exposition import Metrics

GENERATING = ("/v1/completions", "/v1/chat/completions")
# A Raspberry Pi reads 10 to 500 prompt tokens per second and writes 1 to 50.
FIRST_TOKEN_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
REQUEST_S = (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class RequestMetrics:
    """
    Args:
        model, quant, release: labels of every series.
    """

    def __init__(self, *, model: str, quant: str, release: str) -> None:
        metric = Metrics({"model": model, "quant": quant, "release": release})
        self.page = metric.page
        built = metric(
            Gauge, "llmpi_build_info", "Versions of llmpi and its engine", ["version", "engine"]
        )
        built(version=__version__, engine=version("llama-cpp-python")).set(1)
        self._requests = metric(
            Counter,
            "llmpi_requests_total",
            "Completion requests that ended, by endpoint and HTTP status",
            ["endpoint", "code"],
        )
        self._errors = metric(
            Counter,
            "llmpi_request_errors_total",
            "Completion requests that the service failed: status 5xx, or broken off by it",
            ["endpoint"],
        )
        for endpoint in GENERATING:  # so that a rate is there before the first error
            self._errors(endpoint=endpoint)
        self._in_progress = metric(
            Gauge, "llmpi_requests_in_progress", "Completion requests, those that wait included"
        )
        self._waiting = metric(
            Gauge, "llmpi_requests_waiting", "Completion requests that wait for a slot"
        )
        self.first_token = metric(
            Histogram,
            "llmpi_time_to_first_token_seconds",
            "From a streaming request to the first token sent, waiting included",
            buckets=FIRST_TOKEN_S,
        )
        self._duration = metric(
            Histogram,
            "llmpi_request_duration_seconds",
            "From a completion request to its end, waiting included",
            buckets=REQUEST_S,
        )
        self._prompt = (
            metric(Counter, "llmpi_prompt_tokens_total", "Prompt tokens computed"),
            metric(
                Counter,
                "llmpi_prompt_processing_seconds_total",
                "Seconds from a slot's start to its first token",
            ),
        )
        self._generation = (
            metric(Counter, "llmpi_generated_tokens_total", "Tokens behind the first of an answer"),
            metric(
                Counter,
                "llmpi_token_generation_seconds_total",
                "Seconds from an answer's first token to its last",
            ),
        )

    def inside(self, requests: int, slots: int) -> None:
        """So many requests are inside."""
        self._in_progress.set(requests)
        self._waiting.set(max(0, requests - slots))

    def ended(self, endpoint: str, code: int, *, failed: bool, seconds: float) -> None:
        """A completion request, however it ended."""
        self._requests(endpoint=endpoint, code=str(code)).inc()
        self._duration.observe(seconds)
        if failed or code >= 500:
            self._errors(endpoint=endpoint).inc()

    def computed(self, timings: Mapping[str, float]) -> None:
        """What llama-server says of an answer that is whole."""
        steps = max(0, timings["predicted_n"] - 1)  # the first token is the prompt's
        for (count, spent_s), tokens, ms in (
            (self._prompt, timings["prompt_n"], timings["prompt_ms"]),
            (self._generation, steps, timings["predicted_ms"]),
        ):
            if tokens:
                count.inc(tokens)
                spent_s.inc(ms / 1000)
