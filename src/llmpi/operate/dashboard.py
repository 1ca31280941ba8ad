"""The Grafana dashboard of services, from one description: rows of panels of queries."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llmpi.operate.records import Json

RATE = "[$__rate_interval]"
ON_DEVICE = '{device=~"$device", model=~"$model", release=~"$release"}'
OF_SERVICE = '{model=~"$model", release=~"$release"}'
LIMIT = '{device=~"$device", model=~"$model"}'
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, ACROSS = 8, 7, 24


class Panel(NamedTuple):
    """A graph over time; `queries` are (legend, expression)."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    meaning: str


VARIANT = "{{model}} {{quant}} {{release}}"
HERE = "{{device}} {{release}}"

ROWS: dict[str, Sequence[Panel]] = {
    "Canary: is it still the model that was measured?": (
        Panel(
            "F1 and exact match",
            "percentunit",
            [
                (f"F1, {HERE}", f"llmpi_canary_f1_ratio{ON_DEVICE}"),
                (f"exact match, {HERE}", f"llmpi_canary_exact_match_ratio{ON_DEVICE}"),
                ("F1 limit, {{device}}", f"llmpi:canary_f1_ratio:limit{LIMIT}"),
            ],
            "Of the canary's questions; below its limit it is not the measured model any more.",
        ),
        Panel(
            "Top-1 agreement",
            "percentunit",
            [
                (HERE, f"llmpi_canary_top1_agreement_ratio{ON_DEVICE}"),
                ("limit, {{device}}", f"llmpi:canary_top1_agreement_ratio:limit{LIMIT}"),
            ],
            "Share of fixed prefixes behind which the expected token is the likeliest.",
        ),
        Panel(
            "Token generation",
            "suffix:tokens/s",
            [
                (HERE, f"llmpi_canary_token_generation_tokens_per_second{ON_DEVICE}"),
                (
                    "limit, {{device}}",
                    f"llmpi:canary_token_generation_tokens_per_second:limit{LIMIT}",
                ),
            ],
            "Of a request as long as the study's workload; the limit is 85 % of the measured tg.",
        ),
    ),
    "Speed, as users get it": (
        Panel(
            "Token generation (tg)",
            "suffix:tokens/s",
            [(VARIANT, f"llmpi:tg_tokens_per_second:rate5m{OF_SERVICE}")],
            "Of the engine, over the requests of five minutes; longer contexts are slower.",
        ),
        Panel(
            "Prompt processing (pp)",
            "suffix:tokens/s",
            [(VARIANT, f"llmpi:pp_tokens_per_second:rate5m{OF_SERVICE}")],
            "Of the engine, over the requests of five minutes.",
        ),
        Panel(
            "Time to first token",
            "s",
            [
                (f"p95, {VARIANT}", f"llmpi:time_to_first_token_seconds:p95_5m{OF_SERVICE}"),
                (f"canary's latency, {HERE}", f"llmpi_canary_latency_seconds{ON_DEVICE}"),
            ],
            "Of streaming requests, waiting included; and the median of a canary's question.",
        ),
    ),
    "Requests": (
        Panel(
            "Requests",
            "reqps",
            [("{{endpoint}} {{code}}", f"rate(llmpi_requests_total{OF_SERVICE}{RATE})")],
            "Ended requests by endpoint and HTTP status.",
        ),
        Panel(
            "Errors",
            "reqps",
            [("{{endpoint}}", f"rate(llmpi_request_errors_total{OF_SERVICE}{RATE})")],
            "Requests that the service failed.",
        ),
        Panel(
            "Queue and tokens",
            "short",
            [
                ("waiting", f"llmpi_requests_waiting{OF_SERVICE}"),
                ("prompt tokens/s", f"rate(llmpi_prompt_tokens_total{OF_SERVICE}{RATE})"),
                ("generated tokens/s", f"rate(llmpi_generated_tokens_total{OF_SERVICE}{RATE})"),
            ],
            "Requests that wait for a slot, and the load in tokens per second of the clock.",
        ),
    ),
    "The board": (
        Panel(
            "Temperature",
            "celsius",
            [("{{device}}", f"llmpi_temperature_celsius{ON_DEVICE}")],
            "The hottest thermal zone.",
        ),
        Panel(
            "Frequency",
            "hertz",
            [("{{device}} {{cpu}}", f"llmpi_cpu_frequency_hertz{ON_DEVICE}")],
            "Of each processor.",
        ),
        Panel(
            "Throttling",
            "short",
            [("{{device}} {{reason}}", f"llmpi_throttled{ON_DEVICE}")],
            "1 where the firmware limits the board now.",
        ),
        Panel(
            "Memory and swap",
            "bytes",
            [
                ("available, {{device}}", f"llmpi_memory_available_bytes{ON_DEVICE}"),
                (
                    "swap used, {{device}}",
                    f"llmpi_swap_size_bytes{ON_DEVICE} - llmpi_swap_free_bytes{ON_DEVICE}",
                ),
            ],
            "A model that is swapped or read from storage for each token is many times slower.",
        ),
        Panel(
            "Disk",
            "bytes",
            [
                ("free, {{device}}", f"llmpi_disk_free_bytes{ON_DEVICE}"),
                ("limit, {{device}}", f"llmpi:disk_free_bytes:limit{LIMIT}"),
            ],
            "Of the disk with the models; the limit is the size of one more release.",
        ),
        Panel(
            "Power",
            "watt",
            [
                (
                    "{{device}} {{tier}} {{release}}",
                    f"rate(llmpi_energy_joules_total{ON_DEVICE}{RATE})",
                )
            ],
            "Mean power by the meter's tier; different tiers are not to be compared.",
        ),
    ),
}


def dashboard() -> Json:
    """The dashboard as Grafana imports it (JSON of the classic model, schema version 39)."""
    return {
        "uid": "llmpi-services",
        "title": "llmpi: language models on Raspberry Pis",
        "tags": ["llmpi"],
        "timezone": "browser",
        "editable": True,
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[Json]:
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource"}
    yield {**source, "query": "prometheus"}
    for name in ("device", "model", "release"):
        yield {
            "name": name,
            "label": name,
            "type": "query",
            "datasource": SOURCE,
            "query": f"label_values(llmpi_canary_runs_total, {name})",
            "refresh": 2,  # whenever the time range changes: releases come and go
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
        }


def _panels() -> Iterator[Json]:
    number = y = 0
    for title, panels in ROWS.items():
        number += 1
        place: Json = {"x": 0, "y": y, "w": ACROSS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}
        y += 1
        for i, panel in enumerate(panels):
            number += 1
            x = i * WIDTH % ACROSS
            yield _panel(panel, number, {"x": x, "y": y, "w": WIDTH, "h": HEIGHT})
            if x + WIDTH == ACROSS or i == len(panels) - 1:
                y += HEIGHT


def _panel(panel: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for i, (legend, expr) in enumerate(panel.queries)
        ],
    }
