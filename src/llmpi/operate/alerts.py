"""Prometheus's rules for services: limits from the studies' own measurements, and alerts on them.

A limit is a recorded series of its own, with the variant it belongs to: alerts compare with it, and
the dashboard draws it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import yaml

from llmpi.errors import LlmpiError
from llmpi.operate.records import Expectation, Json

WHOSE: tuple[Literal["device", "model", "quant"], ...] = ("device", "model", "quant")
RATE_WINDOW = "5m"

MEMORY_AT_LEAST = 0.05
DISK_AT_LEAST = 0.05
ERRORS_AT_MOST = 0.05
CANARIES_MISSED = 3


def rules(expectations: Sequence[Expectation], *, canary_interval_s: float) -> str:
    """The rules file (YAML) for services that are watched by these expectations.

    Args:
        expectations: one for each variant that is served.
        canary_interval_s: of the monitors. What a canary finds is an alert once the next one finds
            it, too, if a canary takes less than half of that.

    Raises:
        LlmpiError: two are for the same variant on the same device, which can have one limit only.
    """
    counted = Counter(tuple(e[key] for key in WHOSE) for e in expectations)
    if twice := [whose for whose, count in counted.items() if count > 1]:
        raise LlmpiError(f"two expectations are for {'/'.join(twice[0])}; give one of them")
    groups: Json = [
        {"name": "llmpi-limits", "rules": [r for e in expectations for r in limits(e)]},
        {"name": "llmpi-rates", "rules": rates()},
        {"name": "llmpi-alerts", "rules": alerts(canary_interval_s)},
    ]
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=100, allow_unicode=True)


def limits(expected: Expectation) -> list[Json]:
    """What this variant must keep to on its device, as recorded series."""
    low = expected["limits"]
    values = {
        "canary_f1_ratio": low["f1_at_least_pct"] / 100,
        "canary_top1_agreement_ratio": low["top1_at_least_pct"] / 100,
        "canary_token_generation_tokens_per_second": low["tg_at_least_tps"],
        # Room for another release of the same size.
        "disk_free_bytes": expected["gguf_bytes"],
    }
    labels: Json = {key: expected[key] for key in WHOSE}
    return [
        {"record": f"llmpi:{name}:limit", "expr": f"vector({value:.6g})", "labels": labels}
        for name, value in values.items()
    ]


def rates() -> list[Json]:
    """What users get: tokens per second of the engine, and the time to the first token."""
    whose = "instance, model, quant, release"

    def ratio(tokens: str, seconds: str) -> str:
        return " / ".join(f"sum by ({whose}) (rate({m}[{RATE_WINDOW}]))" for m in (tokens, seconds))

    first = f"sum by (le, {whose}) (rate(llmpi_time_to_first_token_seconds_bucket[{RATE_WINDOW}]))"
    return [
        {
            "record": "llmpi:pp_tokens_per_second:rate5m",
            "expr": ratio("llmpi_prompt_tokens_total", "llmpi_prompt_processing_seconds_total"),
        },
        {
            "record": "llmpi:tg_tokens_per_second:rate5m",
            "expr": ratio("llmpi_generated_tokens_total", "llmpi_token_generation_seconds_total"),
        },
        {
            "record": "llmpi:time_to_first_token_seconds:p95_5m",
            "expr": f"histogram_quantile(0.95, {first})",
        },
    ]


def alerts(canary_interval_s: float) -> list[Json]:
    """What a person should look at; `docs/operations.md` says what to do."""
    # A figure stands until the next canary ends, its interval and its own time later.
    twice = f"{max(1, round(1.5 * canary_interval_s))}s"
    unheard_s = CANARIES_MISSED * canary_interval_s
    return [
        _alert(
            "LlmpiDown",
            'up{job=~"llmpi-.*"} == 0',
            "2m",
            "critical",
            "{{ $labels.job }} at {{ $labels.instance }} does not answer",
        ),
        _alert(
            "LlmpiSlow",
            _below("canary_token_generation_tokens_per_second"),
            twice,
            "warning",
            "tg of {{ $labels.model }} {{ $labels.quant }} on {{ $labels.device }} is "
            '{{ $value | printf "%.2f" }} tokens/s, more than 15 % below the measured one',
        ),
        _alert(
            "LlmpiWorseAnswers",
            _below("canary_f1_ratio"),
            twice,
            "critical",
            "F1 of the canary on {{ $labels.device }} is {{ $value | humanizePercentage }}, below "
            "the interval of {{ $labels.model }} {{ $labels.quant }}",
        ),
        _alert(
            "LlmpiOtherModel",
            _below("canary_top1_agreement_ratio"),
            twice,
            "critical",
            "Only {{ $value | humanizePercentage }} of the likeliest tokens on "
            "{{ $labels.device }} are those of {{ $labels.model }} {{ $labels.quant }}",
        ),
        _alert(
            "LlmpiCanaryUnanswered",
            "llmpi_canary_answered == 0",
            twice,
            "critical",
            "The service on {{ $labels.device }} does not answer its canary",
        ),
        _alert(
            "LlmpiCanarySilent",
            f"time() - llmpi_canary_last_run_timestamp_seconds > {unheard_s:g}",
            "0s",
            "warning",
            "No canary on {{ $labels.device }} for {{ $value | humanizeDuration }}",
        ),
        _alert(
            "LlmpiErrors",
            " / ".join(
                f"sum by (instance, model, quant, release) (rate({metric}[{RATE_WINDOW}]))"
                for metric in ("llmpi_request_errors_total", "llmpi_requests_total")
            )
            + f" > {ERRORS_AT_MOST}",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of the requests to {{ $labels.instance }} fail",
        ),
        _alert(
            "LlmpiThrottled",
            "llmpi_throttled == 1",
            "1m",
            "warning",
            "{{ $labels.device }} is limited by its firmware: {{ $labels.reason }}",
        ),
        _alert(
            "LlmpiDiskNearlyFull",
            f"{_below('disk_free_bytes')} "
            f"or llmpi_disk_free_bytes < {DISK_AT_LEAST} * llmpi_disk_size_bytes",
            "10m",
            "warning",
            "{{ $labels.device }} has {{ $value | humanize1024 }}B left on the models' disk: no "
            "room for another release",
        ),
        _alert(
            "LlmpiMemoryLow",
            f"llmpi_memory_available_bytes < {MEMORY_AT_LEAST} * llmpi_memory_size_bytes",
            "5m",
            "warning",
            "{{ $labels.device }} has {{ $value | humanize1024 }}B of memory left",
        ),
        _alert(
            "LlmpiSwapping",
            f"rate(llmpi_swapped_in_bytes_total[{RATE_WINDOW}]) > 0",
            "10m",
            "warning",
            "{{ $labels.device }} swaps; the study's measurements did not",
        ),
    ]


def _below(name: str) -> str:
    whose = ", ".join(WHOSE)
    return f"llmpi_{name} < on ({whose}) group_left () llmpi:{name}:limit"


def _alert(name: str, expr: str, lasting: str, severity: str, summary: str) -> Json:
    annotations: Json = {"summary": summary, "runbook": f"docs/operations.md#{name.lower()}"}
    return {
        "alert": name,
        "expr": expr,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": annotations,
    }
