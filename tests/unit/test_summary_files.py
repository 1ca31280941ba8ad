"""What others read: every column documented, typed and with its unit; llama-bench's own format."""

import json
import statistics
from pathlib import Path

import made_study
import pytest
from pyarrow import parquet
from support import ROOT

from llmpi.summary import columns as columns_module
from llmpi.summary.columns import columns, reference
from llmpi.summary.flat import flat_rows
from llmpi.summary.llama_bench import FIELDS, write_llama_bench
from llmpi.summary.parquet import write_parquet
from llmpi.summary.read import read_records

EVERY_TASK = {
    "qa": {"task": "squad", "squad_file": "qa.json"},
    "more": {"task": "squad", "squad_file": "more.json"},
    "text": {"task": "divergence", "python_topics": True},
    "own": {"task": "ab", "prompts": "prompts.jsonl"},
    "harness": {"task": "lm_eval", "tasks": ["arc_easy"]},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_every_column_is_described_in_its_place() -> None:
    """With a task of every kind; a new column of the summary fails here until it is described."""
    study = made_study.study(quality=EVERY_TASK)
    for row in flat_rows(study, made_study.summarized(study)[0]["rows"]):
        assert list(row) == list(columns(study))


def test_the_reference_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert (ROOT / "docs/summary.md").read_text(encoding="utf-8") == reference()


def test_units_are_those_of_the_names() -> None:
    """A column named `_s` is in seconds, one named `_bytes` in bytes, and so on."""
    units = {"_tps": "tokens/s", "_s": "s", "_w": "W", "_bytes": "bytes", "_nats": "nats"}
    for name, column in columns(made_study.study(quality=EVERY_TASK)).items():
        ending = next((e for e in units if name.endswith(e)), None)
        if ending and column.kind != "text" and not name.endswith("bytes_per_s"):
            assert column.unit == units[ending], name


def test_parquet_holds_the_rows_with_units() -> None:
    study = made_study.study()
    made_study.write_records(study)
    summary, _ = made_study.summarized(study)
    write_parquet(Path("summary.parquet"), study, summary, flat_rows(study, summary["rows"]))
    table = parquet.read_table("summary.parquet")
    assert table.to_pylist() == flat_rows(study, summary["rows"])
    metadata = table.schema.field("tg_tps").metadata
    assert metadata[b"unit"] == b"tokens/s"
    assert metadata[b"description"].startswith(b"Token generation")
    told = json.loads(table.schema.metadata[b"llmpi"])
    assert (told["study"], told["config"]["study"]) == ("made", "made")
    assert str(table.schema.field("peak_rss_bytes").type) == "int64"


def test_a_study_without_numbers_has_the_same_types() -> None:
    """A column of nothing but nulls keeps its type, so that files of studies can be joined."""
    study = made_study.study()
    write_parquet(
        Path("summary.parquet"),
        study,
        made_study.summarized(study)[0],
        flat_rows(study, made_study.summarized(study)[0]["rows"]),
    )
    schema = parquet.read_schema("summary.parquet")
    assert str(schema.field("tg_tps").type) == "double"
    assert {str(schema.field(n).type) for n in ("qa_items", "threads")} == {"int64"}


def test_lines_of_llama_bench() -> None:
    deep = {"prompt_tokens": 32, "output_tokens": 50, "repetitions": 5, "context_tokens": 4096}
    study = made_study.study(quality={}, workloads={"chat": deep})
    made_study.write_records(study)
    write_llama_bench(Path("speed.jsonl"), study, read_records(study))
    lines = [json.loads(line) for line in Path("speed.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 9, "pp and tg of each cell; the one that died has none"
    pp, tg = lines[6:8]
    assert [*pp] == [*FIELDS, "llmpi"]
    assert pp["llmpi"] == {
        "study": "made",
        "device": "nvme",
        "model": "llama-1b",
        "quant": "Q4_0",
        "runtime": "default",
        "workload": "chat",
    }
    assert (pp["n_prompt"], pp["n_gen"], pp["n_depth"]) == (32, 0, 0)
    assert (tg["n_prompt"], tg["n_gen"], tg["n_depth"]) == (0, 50, 32)
    speeds = [12.4 / (1 + 0.01 * i) for i in range(5)]
    assert tg["samples_ts"] == pytest.approx(speeds)
    assert tg["avg_ts"] == pytest.approx(statistics.fmean(speeds))
    assert tg["stddev_ts"] == pytest.approx(statistics.stdev(speeds))
    assert tg["samples_ns"][0] == round(50 / 12.4 * 1e9)
    assert tg["test_time"] == "2026-11-24T10:00:00Z"
    assert (tg["load_mode"], tg["lazy_mode"], tg["flash_attn"]) == ("mmap", "auto", -1)


def test_a_study_that_was_not_run_has_no_lines() -> None:
    study = made_study.study()
    write_llama_bench(Path("speed.jsonl"), study, read_records(study))
    assert Path("speed.jsonl").read_text() == ""


def test_sections_show_every_column_once() -> None:
    shown = [name for _, found in columns_module.SECTIONS for name in found]
    known = columns(made_study.study(quality=EVERY_TASK))
    every = {name.replace("TASK", task) for name in shown for task in EVERY_TASK}
    assert set(known) <= every
