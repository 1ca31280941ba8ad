"""The summary and the page say what a search gave."""

from pathlib import Path

import made_records as made
import pytest
from made_records import write

from llmpi import layout
from llmpi.report.page.write import write_page
from llmpi.study.study import Study
from llmpi.summary.read import read_records
from llmpi.summary.records import Summary
from llmpi.summary.study import summarize
from llmpi.tune.records import Finalist, Tuned, Weighed

EVIL = "<script>alert(1)</script>"
SESSION = {"study": "s", "device": "pi", "model": "m", "runtime": "tuned"}


def study() -> Study:
    given = {
        "study": "s",
        "models": {"m": {"source": {"path": "m.gguf"}}},
        "quants": ["F16", "Q8_0", "Q4_0", "Q2_K"],
        "devices": {"pi": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 4}},
        "runtimes": {"default": {}, "tuned": {"tune": True}},
    }
    return Study.model_validate(given)


def searched() -> Tuned:
    refused: Finalist = {
        "words": "repack: False",
        "gain": None,
        "refused": {"kind": "died", "reason": EVIL},
        "changes_output": False,
        "won": False,
    }
    trials = [
        made.trial("threads: 1", -48.5),
        made.trial("mmap: False", None, {"kind": "died", "reason": EVIL}),
    ]
    return made.tuned([refused], trials)


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Summary:
    """Tuned; the default stays; the search failed; not run."""
    monkeypatch.chdir(tmp_path)
    stays: Tuned = {
        **searched(),
        "tuned": False,
        "words": "as it is",
        "gain": None,
        "metrics": [],
        "agreement": None,
        "remaining_pct": None,
    }
    failed = made.failed(EVIL, "tune")
    for quant, record in (("F16", searched()), ("Q8_0", stays), ("Q4_0", failed)):
        write(layout.TUNED, record, quant=quant, **SESSION)
    asked = study()
    return summarize(asked, read_records(asked))[0]


def test_every_search_is_in_the_summary_without_its_blocks(summary: Summary) -> None:
    first, stays, dead, missing = summary["tuned"]
    assert first["gain"] == {"ratio": 1.12, "low": 1.05, "high": 1.2}
    assert first["objective"] == "total"
    assert "blocks" not in first
    assert not stays["tuned"]
    assert (dead["status"], dead["reason"]) == ("failed", EVIL)
    assert missing["status"] == "not run"


def test_a_row_says_how_far_its_settings_change_the_output(summary: Summary) -> None:
    found = {(r["quant"], r["runtime"]): r["output_agreement_pct"] for r in summary["rows"]}
    assert found[("F16", "tuned")] == 100
    assert found[("F16", "default")] is None
    assert found[("Q8_0", "tuned")] is None


def test_the_page_shows_the_ratio_with_its_interval(summary: Summary, tmp_path: Path) -> None:
    write_page(summary, None, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "× 1.120 <small>(1.050–1.200)</small>" in text
    assert "the same to the bit" in text
    assert "the default stays" in text
    assert "2 settings tried, 1 refused" in text
    assert "-48.5" in text
    assert EVIL not in text


def test_the_page_draws_speed_against_joules_of_each_search_for_joules(
    summary: Summary, tmp_path: Path
) -> None:
    weighed: list[Weighed] = [
        {"words": words, "speed_pct": 0.0, "energy_pct": 0.0, "blocks": 1, "on_front": True}
        for words in ("as it is", EVIL)
    ]
    first, second, *others = summary["tuned"]
    assert first["status"] == second["status"] == "ok"
    searches = [first, {**second, "weighed": weighed}, *others]
    write_page({**summary, "tuned": searches}, None, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert 'data-figure="weighed-1"' in text
    assert 'data-figure="weighed-0"' not in text
    assert "pi, m Q8_0 tuned: speed against joules" in text
    assert EVIL not in text


def test_without_a_search_the_page_does_not_speak_of_one(summary: Summary, tmp_path: Path) -> None:
    write_page({**summary, "tuned": []}, None, tmp_path / "page.html")
    assert "Tuned against default" not in (tmp_path / "page.html").read_text()
