"""What a run says at its begin."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from rule_texts import RULES
from support import PATIENCE_S, ROOT

from llmpi.study.file import load_study
from llmpi.terminal import run_begin
from llmpi.terminal.estimated import ESTIMATED
from llmpi.terminal.run_state import Kind


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Says the begin of the demo with jobs of these rules: what is told, by what it tells of."""
    log, study = logging.getLogger("a run's begin"), load_study(ROOT / "config/config.yaml")

    monkeypatch.setattr(run_begin, "PATIENCE_S", PATIENCE_S)

    def say(**wildcards_of: dict[str, str]) -> dict[str, Any]:
        jobs = [
            SimpleNamespace(rule=SimpleNamespace(name=rule), wildcards=wildcards, log=["a log"])
            for rule, wildcards in wildcards_of.items()
        ]
        with caplog.at_level(logging.INFO, logger=log.name):
            run_begin.say(log, study, jobs)
        return {record.llmpi: record for record in caplog.records if hasattr(record, "llmpi")}

    return say


def test_what_a_measurement_here_takes_is_known_before_it_begins(said) -> None:
    [device] = load_study(ROOT / "config/config.yaml").devices
    kind = Kind("benchmark_device", device, "smollm2-135m")
    told = said(benchmark_device={"device": device, "model": "smollm2-135m"})
    assert told["begin"].left == {kind: 1}
    assert told["expected"].expected_s[kind] > 0


def test_nothing_is_asked_of_the_plan_for_jobs_that_it_does_not_know(said, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the plan is asked")

    monkeypatch.setattr(run_begin, "_ask", refuse)
    assert set(said(summarize={}, report={})) == {"begin"}


def test_what_is_estimated_are_rules() -> None:
    assert RULES.keys() >= ESTIMATED
