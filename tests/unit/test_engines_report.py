"""The summary and the page say what the comparison of engines gave; nothing of it is ranked."""

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

EVIL = "<script>alert(1)</script>"
SESSION = {"study": "s", "device": "pi", "model": "m", "runtime": "default"}


def study() -> Study:
    given = {
        "study": "s",
        "models": {"m": {"source": {"path": "m.gguf"}}},
        "quants": ["F16", "Q4_0", "Q2_K"],
        "devices": {"pi": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 4}},
        "engines": ["0.3.34", "0.3.35", "0.3.36"],
    }
    return Study.model_validate(given)


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Summary:
    """Compared; failed; not run."""
    monkeypatch.chdir(tmp_path)
    write(layout.BY_ENGINE, made.compared_engines(EVIL), quant="F16", **SESSION)
    write(layout.BY_ENGINE, made.failed(EVIL, "engines"), quant="Q4_0", **SESSION)
    asked = study()
    return summarize(asked, read_records(asked))[0]


def test_every_comparison_is_in_the_summary_without_its_blocks(summary: Summary) -> None:
    first, failed, missing = summary["engines"]
    assert first["status"] == "ok"
    assert first["first"] == "0.3.34"
    assert first["blocks"] == 1
    assert [held["engine"] for held in first["held"]] == ["0.3.35", "0.3.36"]
    assert (failed["status"], failed["reason"]) == ("failed", EVIL)
    assert missing["status"] == "not run"


def test_the_page_says_it_in_both_languages(summary: Summary, tmp_path: Path) -> None:
    write_page(summary, None, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "0.3.35 against 0.3.34" in text
    assert "tg -2.1 % <small>(-3.0 … -1.1)</small>" in text
    for words in ("slower beyond doubt", "確かに遅い", "not told apart", "差は見分けられない"):
        assert words in text
    assert "the same model: 97.9 % of the tokens agree" in text
    assert "他のプログラムの影響あり" in text
    assert EVIL not in text


def test_a_damaged_record_is_named(summary: Summary) -> None:
    record = made.compared_engines("died")
    record["held"][0]["figures"][0]["low_pct"] = float("nan")
    path = write(layout.BY_ENGINE, record, quant="F16", **SESSION)
    asked = study()
    damaged = summarize(asked, read_records(asked))[0]["engines"][0]
    assert damaged["status"] == "failed"
    assert str(damaged["reason"]).startswith(f"{path}: ")
    assert "low_pct" in str(damaged["reason"])


def test_without_a_comparison_the_page_does_not_speak_of_one(
    summary: Summary, tmp_path: Path
) -> None:
    write_page({**summary, "engines": []}, None, tmp_path / "page.html")
    assert "Engines compared" not in (tmp_path / "page.html").read_text()


def test_no_row_and_so_no_decision_is_of_a_compared_engine(summary: Summary) -> None:
    without, _ = summarize(
        study().model_copy(update={"engines": {}}),
        read_records(study().model_copy(update={"engines": {}})),
    )
    assert summary["rows"] == without["rows"]
    assert without["engines"] == []
