"""How far a study is, by its files, and what it came to in five lines."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import small_results
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_decision import decided
from made_evidence import Truth, answers
from made_records import write
from rule_texts import RULES
from support import ROOT

from llmpi import cli, layout
from llmpi.decide.choice import recommend
from llmpi.records import write_json
from llmpi.study.decision import Constraints
from llmpi.study.runs import Scored
from llmpi.study.study import Study
from llmpi.summary.read import read_records
from llmpi.summary.study import summarize
from llmpi.terminal import disk
from llmpi.terminal.disk import Cell, look
from llmpi.terminal.end import STAGES, end
from llmpi.terminal.status import failures, marked, table

LOG = re.compile(r'"(logs/.+?\.log)"')

F16 = {**small_results.CELL, "quant": "F16"}
CONFIG = "config/my.yaml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(**more: object) -> Study:
    return small_results.study(gates=[], **more)


def by_name(cells: list[Cell]) -> dict[tuple[str, str], Cell]:
    return {(cell.asked.kind, cell.asked.name): cell for cell in cells}


def recommended(asked: Study) -> None:
    summary, requirements = summarize(asked, read_records(asked))
    choice = recommend(summary, requirements, asked.constraints or Constraints())
    write_json(Path(layout.at(layout.RECOMMENDATION, study=asked.study)), {**choice, "money": None})
    Path(layout.at(layout.PAGE, study=asked.study)).touch()


def test_nothing_was_run() -> None:
    asked = study()
    cells = look(asked)
    assert {cell.state for cell in cells} == {"waiting"}
    assert table(cells)[0].split() == ["done", "failed", "waiting", "of"]
    assert end(asked, cells, CONFIG) == [
        "Decided    nothing yet; 0 of 3 measured, 0 of 3 scored",
        "Cells      0 of 3 measured, 0 of 3 scored; none failed; files still to come: 18",
        "Next       the rest: snakemake --cores 4 --configfile config/my.yaml",
    ]


def test_done_failed_and_waiting_by_kind() -> None:
    small_results.write_results()
    cells = look(study())
    states = {key: cell.state for key, cell in by_name(cells).items()}
    assert states["measured", "m F16 on pi"] == "done"
    assert states["measured", "m Q4_0 on pi"] == "failed"
    assert states["measured", "m Q2_K on pi"] == "waiting"
    rows = {row.split()[0]: row.split()[1:] for row in table(cells)[1:]}
    assert rows["measured"] == ["1", "1", "1", "3"]
    assert rows["scored"] == ["2", "-", "1", "3"]


def test_a_failed_cell_is_named_last_with_its_remedy() -> None:
    small_results.write_results()
    asked = study(quality={}, constraints={"prefer": "speed"})
    recommended(asked)
    lines = end(asked, look(asked), CONFIG)
    assert lines[0].startswith("Decided    m F16 on pi: 10 tokens/s")
    assert lines[-1].startswith(f"Next       m Q4_0 on pi failed: {small_results.EVIL}; again: ")
    assert lines[-1].endswith("--forcerun results/bench/s/pi/m/Q4_0/default.json")
    assert "1 failed" in lines[-2]


def test_a_provisional_choice_says_what_would_settle_it() -> None:
    truths = {Scored("m", quant): Truth(f1, f1) for quant, f1 in (("F16", 60), ("Q4_0", 56))}
    choice = decided(answers(truths, 200), prefer="speed")
    asked = study(quants=["F16", "Q4_0"])
    path = Path(layout.at(layout.RECOMMENDATION, study=asked.study))
    write_json(path, {**choice, "money": None})
    said = end(asked, look(asked), CONFIG)
    assert said[0].startswith("Decided    m F16 on pi, for now: ")
    assert said[1].startswith("To settle  whether m Q4_0 on pi holds: about ")
    assert "more questions of qa" in said[1]


def test_a_choice_of_what_was_disturbed_says_what_would_settle_it() -> None:
    small_results.write_results()
    place = {"device": "pi", "model": "m", "runtime": "default", "study": "s"}
    for quant in ("F16", "Q4_0", "Q2_K"):
        cell = {**small_results.chat(), "marks": ["disturbed"]}
        write(layout.BENCH, small_results.bench(cell), **place, quant=quant)
    asked = study(quants=["F16"], quality={}, constraints={"prefer": "speed"})
    recommended(asked)
    said = end(asked, [c for c in look(asked) if c.state != "waiting"], CONFIG)
    assert said[0].startswith("Decided    m F16 on pi, for now: 10 tokens/s")
    assert said[1] == "To settle  its speed: other programs ran while it was measured"
    assert said[-1].endswith(
        "nothing else runs: snakemake --cores 4 --configfile "
        "config/my.yaml --forcerun benchmark_device"
    )


def test_what_rests_on_a_failed_file_is_told_with_it_once() -> None:
    failed = {"status": "failed", "stage": "quantize", "reason": "no such type"}
    for pattern in (layout.GGUF_MANIFEST, layout.RECEIPT, layout.BENCH):
        write(pattern, failed, **F16)
    told = list(failures(look(study()), CONFIG))
    assert told[:2] == [
        "failed: m F16 (files), m F16 on pi (deployed), m F16 on pi",
        "  no such type",
    ]
    assert told[2].endswith("--forcerun results/gguf/m/F16.json")


def test_a_job_that_left_nothing_has_its_reason_in_its_log() -> None:
    log = Path("logs/quantize_gguf/m/Q4_0.log")
    log.parent.mkdir(parents=True)
    date = "2026-11-26 17:00:00,000"
    log.write_text(f"{date} DEBUG on pi\n{date} ERROR error: the disk is full.\nMake room.\n")
    cell = by_name(look(study()))["files", "m Q4_0"]
    assert (cell.state, cell.reason) == ("failed", "the disk is full. Make room.")
    assert list(failures([cell], "config/config.yaml"))[-1] == "  again: snakemake --cores 4"
    log.write_text(
        f"{date} ERROR broke here\nTraceback (most recent call last):\n  x\nKeyError: 1\n"
    )
    assert by_name(look(study()))["files", "m Q4_0"].reason == "broke here (KeyError: 1)"
    log.write_text(f"{date} INFO again\n")
    assert by_name(look(study()))["files", "m Q4_0"].state == "waiting"


@pytest.mark.parametrize("name", ["qwen-2.5", "m"])
def test_logs_are_found_by_the_wildcards_of_the_file(name: str) -> None:
    asked = small_results.study(models={name: {"source": {"path": "m.gguf"}}})
    logs = {log for one in disk.asked_for(asked) for log in map(str, disk.logs_of(one))}
    assert f"logs/fetch_model/{name}.log" in logs
    assert f"logs/quantize_gguf/{name}/F16.log" in logs
    assert f"logs/benchmark_device/s/pi/{name}/F16/default.log" in logs
    assert f"logs/evaluate_quality/s/{name}/F16/f16/qa.log" in logs
    assert {"logs/recommend/s.log", "logs/memo/s/en.log"} <= logs


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        (layout.MIX, "results/mix/m/Q4_0.json"),
        (layout.BASE_MANIFEST, "results/gguf/m/F16.json"),
        (layout.MODEL_MANIFEST, "results/models/m/manifest.json"),
        (layout.RATES, "results/rates/board/m.json"),
        (layout.RECEIPT, "results/deploy/pi/m/Q4_0.json"),
        (layout.IMATRIX_MANIFEST, "results/imatrix/m.json"),
    ],
)
def test_what_is_to_be_tried_again_is_where_it_failed(pattern: str, file: str) -> None:
    """What rests on it only passes it on, and would again."""
    failed = {"status": "failed", "stage": "made", "reason": "the engine\ndied"}
    device = "board" if pattern == layout.RATES else "pi"  # what a mix was made for
    write(pattern, failed, device=device, model="m", quant="Q4_0")
    write(layout.BENCH, failed, **{**F16, "quant": "Q4_0"})
    cell = by_name(look(study(quants=["Q4_0"])))["measured", "m Q4_0 on pi"]
    assert cell.reason == "the engine died"
    assert disk.origin(cell) == file


def test_what_was_deleted_behind_a_page_is_asked_for_by_its_stage() -> None:
    """A plain run has nothing to do."""
    small_results.write_results()
    asked = study(quants=["F16"], constraints={"prefer": "speed"})
    recommended(asked)
    cells = [cell for cell in look(asked) if cell.state != "failed"]
    assert end(asked, cells, CONFIG)[-1] == (
        "Next       the rest: snakemake all deployed --cores 4 --configfile config/my.yaml"
    )


def test_the_stages_that_are_told_are_targets() -> None:
    snakefile = (ROOT / "Snakefile").read_text()
    assert all(f"\nrule {stage}:\n" in snakefile for stage in STAGES.values())


def test_a_memo_that_failed_is_told() -> None:
    log = Path("logs/memo/s/en.log")
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-26 17:00:00,000 ERROR error: the disk is full\n")
    cell = by_name(look(study()))["memos", "s in en"]
    assert (cell.state, cell.reason) == ("failed", "the disk is full")


def test_a_workload_that_failed_within_a_session_and_one_that_is_marked() -> None:
    session: Any = small_results.bench()
    session["workloads"]["chat"]["marks"] = ["throttled"]
    write(layout.BENCH, session, **F16)
    cell = by_name(look(study()))["measured", "m F16 on pi"]
    assert (cell.state, list(marked([cell]))) == ("done", ["throttled: m F16 on pi"])
    session["workloads"]["long"] = {"status": "failed", "stage": "measure", "reason": "no room"}
    write(layout.BENCH, session, **F16)
    cell = by_name(look(study()))["measured", "m F16 on pi"]
    assert (cell.state, cell.reason) == ("failed", "long: no room")


@given(st.binary(max_size=200) | st.builds(lambda x: json.dumps(x).encode(), st.integers()))
def test_a_file_of_anything_is_a_state(content: bytes) -> None:
    path = Path(layout.at(layout.BENCH, **F16))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    look(study())


def test_a_page_that_is_older_than_its_records_is_told() -> None:
    small_results.write_results()
    asked = study()
    recommended(asked)
    assert not any("older" in line for line in end(asked, look(asked), CONFIG))
    write(layout.BENCH, small_results.bench(), **{**F16, "quant": "Q2_K"})
    later = Path(layout.at(layout.BENCH, **{**F16, "quant": "Q2_K"}))
    os.utime(later, (2**32, 2**32))
    said = end(asked, look(asked), CONFIG)
    older = "(older than what was measured since)"
    assert [line.split()[0] for line in said if line.endswith(older)] == ["Decided", "Page"]
    settled = [cell for cell in look(asked) if cell.state == "done"]
    assert end(asked, settled, CONFIG)[-1].startswith("Next       the rest: snakemake --cores 4")


def test_strict_tells_by_its_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = folder / "my.yaml"
    asked = study().model_dump(mode="json", exclude_defaults=True)
    config.write_text(yaml.safe_dump(asked))
    for name in ("qa.json", "m.gguf"):
        (folder / name).write_text("{}")
    command = ["status", "--config", str(config)]
    assert cli.main(command) == 0
    assert cli.main([*command, "--strict"]) == 1
    assert "waiting" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "patterns"),
    [
        ("models", "MODEL_MANIFEST"),
        ("files", "GGUF_MANIFEST|BASE_MANIFEST"),
        ("devices", "PROVISIONED"),
        ("deployed", "RECEIPT"),
        ("tuned", "TUNED"),
        ("measured", "BENCH"),
        ("engines", "BY_ENGINE"),
        ("parity", "PARITY"),
        ("scored", "QUALITY"),
        ("compared", "AB"),
        ("report", "SUMMARY_CSV|RECOMMENDATION|PAGE"),
        ("memos", "MEMO_PDF"),
    ],
)
def test_every_rule_that_makes_what_is_looked_at_has_its_log_read(kind: str, patterns: str) -> None:
    makers = {
        name
        for name, (_, body) in RULES.items()
        if re.search(rf"layout\.({patterns}),", body.partition("output:")[2].partition("log:")[0])
    }
    assert makers
    assert makers <= set(disk.RULES[kind])


def test_every_log_that_is_read_is_some_rules() -> None:
    logs = {re.sub(r"{.*?}", "*", log) for _, b in RULES.values() for log in LOG.findall(b)}
    for patterns in disk.BEFORE.values():
        for pattern in patterns:
            assert "logs/" + re.sub(r"{.}", "*", pattern) in logs


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("answer_shard/{study}/smollm2-135m/Q4_0/f16/qa/3", "scored"),
        ("prepare_questions/{study}/qa", "scored"),
        ("predict_on_workstation/smollm2-135m/Q4_0", "parity"),
        ("sample_questions/{study}/smollm2-135m/Q4_0/real", "measured"),
    ],
)
def test_what_comes_before_says_why_it_is_not_tried(log: str, kind: str) -> None:
    parts = {"scored": ("{study}", "smollm2-135m", "Q4_0", "f16", "qa")}
    parts["parity"] = ("{study}", "pi", "smollm2-135m", "Q4_0")
    parts["measured"] = (*parts["parity"], "default")
    path = Path("logs", f"{log}.log")
    path.parent.mkdir(parents=True)
    path.write_text("2026-11-26 10:00:00,000 ERROR error: it was killed\n")
    asked = disk.Asked(kind, "one", "/".join(("results", kind, *parts[kind])) + ".json")
    assert disk.last_error(asked) == "it was killed"


def test_a_session_of_what_is_no_record_cannot_be_read() -> None:
    path = Path("results/bench/s/pi/m/Q4_0/default.json")
    path.parent.mkdir(parents=True)
    path.write_text('{"status": "ok", "workloads": {"chat": null}}')
    found = disk._found(disk.Asked("measured", "one", str(path)))
    assert found.state == "failed" and "cannot be read: a workload" in found.reason
