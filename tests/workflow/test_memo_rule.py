"""The rule that writes the memo, on the summary of a study that was not measured yet."""

from pathlib import Path

import pytest
from support import planned_jobs, run_snakemake

from llmpi import layout
from llmpi.records import write_json
from llmpi.study.file import load_study
from llmpi.summary.read import read_records
from llmpi.summary.study import summarize


def test_memo_in_the_languages_asked_for(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    config = Path("config/config.yaml")
    config.write_text(config.read_text() + "languages: [ja]\n")
    study = load_study(config)
    for pattern, record in zip(
        (layout.SUMMARY_JSON, layout.REQUIREMENTS),
        summarize(study, read_records(study)),
        strict=True,
    ):
        write_json(Path(layout.at(pattern, study=study.study)), record)
    pdf = layout.at(layout.MEMO_PDF, study=study.study, language="ja")
    run_snakemake("--cores", "1", "--allowed-rules", "recommend", "memo", "--", pdf, cwd=workdir)
    assert Path(pdf).read_bytes().startswith(b"%PDF")
    text = Path(layout.at(layout.MEMO_MD, study=study.study, language="ja")).read_text("utf-8")
    assert "測定が一つも完了していない" in text
    assert planned_jobs(cwd=workdir).get("memo", 0) <= 1, "no other language"


def test_a_memo_for_each_language(workdir: Path) -> None:
    assert planned_jobs(cwd=workdir)["memo"] == 2
