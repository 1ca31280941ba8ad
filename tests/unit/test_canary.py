"""The canary against a service that says what the test wants, over real HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest
from canary_service import EXPECTED, SAYS, serving

from llmpi.device import cli
from llmpi.device.monitor.canary import NO_ANSWER, counters, objections
from llmpi.device.monitor.records import Figures


@pytest.fixture
def expect(tmp_path: Path) -> str:
    path = tmp_path / "expect.json"
    path.write_text(json.dumps(EXPECTED))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["canary", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_a_service_as_expected_passes(expect: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(SAYS) as url:
        code, record = run(capsys, "--url", url + "/", "--expect", expect)
    assert code == 0
    assert record.pop("latency_s") > 0
    assert record == {
        "status": "passed",
        "reasons": [],
        "em_pct": 100.0,
        "f1_pct": 100.0,
        "top1_agreement_pct": 100.0,
        "tg_tps": pytest.approx(10.0),
        "pp_tps": pytest.approx(500.0),
    }


def test_each_drift_has_its_reason(expect: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {**SAYS, "Who?": "unanswerable", "One": " one"}
    with serving(wrong, tg_tps=8.0) as url:
        code, record = run(capsys, "--url", url, "--expect", expect)
    assert (code, record["status"]) == (1, "failed")
    assert (record["em_pct"], record["f1_pct"], record["top1_agreement_pct"]) == (50, 50, 50)
    assert record["reasons"] == [
        "F1 50.0 % < 80.0 %",
        "top-1 agreement 50.0 % < 85.0 %",
        "tg 8.00 < 8.50 tokens/s",
    ]


def test_the_key_comes_from_a_file_and_is_never_said(
    expect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key"
    path.write_text("right-key\n")
    with serving(SAYS, key="right-key") as url:
        assert run(capsys, "--url", url, "--expect", expect, "--key-file", str(path))[0] == 0
        path.write_text("wrong-key\n")
        code, record = run(capsys, "--url", url, "--expect", expect, "--key-file", str(path))
    assert code == 1
    assert "401" in record["reasons"][0]
    assert "wrong-key" not in json.dumps(record)
    assert record["tg_tps"] is None


def test_nobody_there_is_a_failure_with_a_reason(
    expect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(SAYS) as url:
        pass
    code, record = run(capsys, "--url", url, "--expect", expect, "--timeout", "5")
    assert code == 1
    assert "cannot reach the service" in record["reasons"][0]


def test_what_was_not_measured_does_not_pass() -> None:
    measured: Figures = {**NO_ANSWER, "f1_pct": 90.0, "top1_agreement_pct": 90.0}
    [reason] = objections(measured, EXPECTED["limits"])
    assert reason.startswith("tg_tps was not measured")


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"prefixes": [], "questions": []}'])
def test_another_file_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    assert cli.main(["canary", "--url", "http://127.0.0.1:1", "--expect", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_no_address_but_http(expect: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["canary", "--url", "file:///etc/passwd", "--expect", expect])


def test_counters_are_summed_over_labels() -> None:
    text = '# TYPE a counter\na{x="1"} 2.0\na{x="2 }"} 3e1\nb 1\nb_created NaN\n'
    assert counters(text) == {"a": 32.0, "b": 1.0}
