"""The alert rules, checked and tried by Prometheus's own tool."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from canary_service import expectation
from support import ROOT, needed

from llmpi.device.monitor.records import Limits
from llmpi.errors import LlmpiError
from llmpi.operate.alerts import alerts, limits, rules
from llmpi.operate.records import Expectation

LIMITS: Limits = {"f1_at_least_pct": 80.6, "top1_at_least_pct": 85.0, "tg_at_least_tps": 8.5}
EXPECTED: Expectation = {**expectation(), "limits": LIMITS}
OTHER: Expectation = {**expectation("pi4"), "limits": {**LIMITS, "tg_at_least_tps": 2.0}}
INTERVAL_S = 600
PI5 = 'device="pi5",model="m",quant="Q4_0",release="r7"'
PI4 = 'device="pi4",model="m",quant="Q4_0",release="r7"'


def promtool(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [needed("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = rules([EXPECTED, OTHER], canary_interval_s=INTERVAL_S)
    (tmp_path / "rules.yml").write_text(text)
    return tmp_path


def test_promtool_accepts_the_rules(folder: Path) -> None:
    promtool(folder, "check", "rules", "rules.yml")


def test_limits_are_the_expectations(folder: Path) -> None:
    found = {rule["record"]: rule["expr"] for rule in limits(EXPECTED)}
    assert found == {
        "llmpi:canary_f1_ratio:limit": "vector(0.806)",
        "llmpi:canary_top1_agreement_ratio:limit": "vector(0.85)",
        "llmpi:canary_token_generation_tokens_per_second:limit": "vector(8.5)",
        "llmpi:disk_free_bytes:limit": "vector(9e+07)",
    }


def test_one_limit_for_a_variant_on_a_device() -> None:
    with pytest.raises(LlmpiError, match="two expectations are for pi5/m/Q4_0"):
        rules([EXPECTED, OTHER, EXPECTED], canary_interval_s=INTERVAL_S)


# Alert -> series that raise it, with values every minute, and when it must fire (minutes).
RAISING = {
    "LlmpiDown": ({'up{job="llmpi-monitor",instance="pi"}': "1 0x9"}, 5),
    "LlmpiSlow": ({f"llmpi_canary_token_generation_tokens_per_second{{{PI5}}}": "9 8.4x30"}, 20),
    "LlmpiWorseAnswers": ({f"llmpi_canary_f1_ratio{{{PI5}}}": "0.9 0.8x30"}, 20),
    "LlmpiOtherModel": ({f"llmpi_canary_top1_agreement_ratio{{{PI5}}}": "1 0.8x30"}, 20),
    "LlmpiCanaryUnanswered": ({f"llmpi_canary_answered{{{PI5}}}": "1 0x30"}, 20),
    "LlmpiCanarySilent": (
        {f"llmpi_canary_last_run_timestamp_seconds{{{PI5}}}": "60x60"},
        35,
    ),
    "LlmpiErrors": (
        {
            'llmpi_request_errors_total{endpoint="/v1/completions",model="m"}': "0+1x30",
            'llmpi_requests_total{endpoint="/v1/completions",code="200",model="m"}': "0+8x30",
            'llmpi_requests_total{endpoint="/v1/completions",code="500",model="m"}': "0+1x30",
        },
        20,
    ),
    "LlmpiThrottled": ({f'llmpi_throttled{{{PI5},reason="throttled"}}': "0 1x9"}, 5),
    "LlmpiDiskNearlyFull": (
        {
            f"llmpi_disk_free_bytes{{{PI5}}}": "80000000x30",
            f"llmpi_disk_size_bytes{{{PI5}}}": "900000000x30",
        },
        20,
    ),
    "LlmpiMemoryLow": (
        {
            f"llmpi_memory_available_bytes{{{PI5}}}": "40x30",
            f"llmpi_memory_size_bytes{{{PI5}}}": "1000x30",
        },
        20,
    ),
    "LlmpiSwapping": ({f"llmpi_swapped_in_bytes_total{{{PI5}}}": "0+4096x30"}, 20),
}

HEALTHY = {
    'up{job="llmpi-monitor",instance="pi"}': "1x60",
    f"llmpi_canary_token_generation_tokens_per_second{{{PI5}}}": "8.6x60",
    # Slower than the limit of the other board: each is held against its own.
    f"llmpi_canary_token_generation_tokens_per_second{{{PI4}}}": "2.1x60",
    f"llmpi_canary_f1_ratio{{{PI5}}}": "0.81x60",
    f"llmpi_canary_top1_agreement_ratio{{{PI5}}}": "0.86x60",
    f"llmpi_canary_answered{{{PI5}}}": "1x60",
    f"llmpi_canary_last_run_timestamp_seconds{{{PI5}}}": "0+60x60",
    'llmpi_request_errors_total{endpoint="/v1/completions",model="m"}': "0x60",
    'llmpi_requests_total{endpoint="/v1/completions",code="200",model="m"}': "0+8x60",
    f'llmpi_throttled{{{PI5},reason="throttled"}}': "0x60",
    f"llmpi_disk_free_bytes{{{PI5}}}": "100000000x60",
    f"llmpi_disk_size_bytes{{{PI5}}}": "900000000x60",
    f"llmpi_memory_available_bytes{{{PI5}}}": "400x60",
    f"llmpi_memory_size_bytes{{{PI5}}}": "1000x60",
    f"llmpi_swapped_in_bytes_total{{{PI5}}}": "4096x60",
}


def test_every_alert_is_tried() -> None:
    assert {alert["alert"] for alert in alerts(INTERVAL_S)} == RAISING.keys()


@pytest.mark.parametrize("name", RAISING)
def test_an_alert_fires_when_it_must(name: str, folder: Path) -> None:
    series, minutes = RAISING[name]
    fired(folder, series, f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', minutes, [1])
    fired(folder, series, f'ALERTS{{alertname!="{name}"}}', minutes, [])


def test_a_healthy_service_raises_none(folder: Path) -> None:
    for minutes in (10, 30, 59):
        fired(folder, HEALTHY, "ALERTS", minutes, [])


def test_one_bad_canary_is_not_enough(folder: Path) -> None:
    """The next one ends twelve minutes later, and is as it should be."""
    series = {f"llmpi_canary_f1_ratio{{{PI5}}}": "0.9x10 0.5x11 0.9x20"}
    for minutes in range(5, 40, 5):
        fired(folder, series, 'ALERTS{alertstate="firing"}', minutes, [])


def test_no_answer_is_no_verdict_on_quality(folder: Path) -> None:
    series = {f"llmpi_canary_f1_ratio{{{PI5}}}": "NaN " * 60}
    fired(folder, series, "ALERTS", 40, [])


def fired(
    folder: Path, series: dict[str, str], query: str, minutes: int, wanted: list[int]
) -> None:
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": value} for value in wanted],
            }
        ],
    }
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(whole))
    promtool(folder, "test", "rules", "test.yml")


def test_the_manual_says_what_to_do_at_each() -> None:
    manual = (ROOT / "docs/operations.md").read_text()
    headings = set(re.findall(r"^### (\w+)$", manual, re.MULTILINE))
    assert {alert["alert"] for alert in alerts(INTERVAL_S)} <= headings
