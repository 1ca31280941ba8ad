"""Cells of endpoints in the summary, the decision, the page and the memo: beside those in process,
and never in a row with them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import small_results as small
from made_http import RUNTIMES, answers, cell_over_http, served, session_over_http
from made_records import write
from shown_page import Page, page
from small_results import CELL

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.device.measure import session
from llmpi.engine.records import SessionRecord
from llmpi.quality.squad.records import SquadAsked
from llmpi.records import check
from llmpi.report.memo import text
from llmpi.report.memo.facts import facts
from llmpi.report.page.write import write_page
from llmpi.study import inputs
from llmpi.study.decision import Constraints
from llmpi.study.runs import asked_over_http, scored, sessions
from llmpi.summary.flat import flat_rows, write_csv
from llmpi.summary.llama_bench import write_llama_bench
from llmpi.summary.read import read_records


@pytest.fixture
def measured(results: object) -> None:
    """In process and over HTTP, where the server tells what it counts."""
    told = served(pp_tps=250.0, tg_tps=21.0)
    write(layout.BENCH, small.bench(small.chat()), **CELL)
    found = session_over_http(cell_over_http(told))
    check(json.dumps(found), SessionRecord, "a session")
    write(layout.BENCH, found, **{**CELL, "runtime": "server"})


def test_an_endpoint_has_cells_of_what_it_serves_alone() -> None:
    users = {"kind": "concurrent", "conversations": [1], "prompt_tokens": 8, "output_tokens": 8}
    chat = {"prompt_tokens": 100, "output_tokens": 4}
    study = small.study(runtimes=RUNTIMES, workloads={"chat": chat, "users": users})
    found = {s: w for s, w in sessions(study).items() if s.runtime == "server"}
    assert {s.quant: w for s, w in found.items()} == {"F16": ["chat"]}
    assert {one.computation for one in scored(study)} == {"f16"}


@pytest.mark.usefixtures("measured")
def test_a_row_says_who_computed_and_whose_clock_it_is(tmp_path: Path) -> None:
    study = small.study(runtimes=RUNTIMES)
    summary, _ = small.summary(runtimes=RUNTIMES)
    ours, theirs = (row for row in summary["rows"] if row["quant"] == "F16")
    assert ours["endpoint"] is None
    assert theirs["marks"] == ["over HTTP"]
    assert (theirs["endpoint"], theirs["endpoint_place"]) == ("completions", "on the device")
    assert (theirs["tg_tps"], theirs["endpoint_tg_tps"]) == (pytest.approx(20), 21)
    assert (theirs["pp_tps"], theirs["endpoint_pp_tps"]) == (pytest.approx(200), 250)
    assert (theirs["claimed_file"], theirs["claimed_template"]) == ("m.gguf", None)
    for unknown in ("threads", "cold_load_s", "memory_bytes", "major_faults", "tg_memory_share"):
        assert theirs[unknown] is None  # type: ignore[literal-required]  # one of its columns
    assert theirs["quality"]["qa"]["f1_pct"] is None
    assert summary["predictions"] and all(p["runtime"] != "server" for p in summary["predictions"])
    write_csv(tmp_path / "summary.csv", flat_rows(study, summary["rows"]))
    with (tmp_path / "summary.csv").open(newline="") as file:
        flat = {row["runtime"]: row for row in csv.DictReader(file) if row["quant"] == "F16"}
    assert (flat["server"]["marks"], flat["default"]["marks"]) == ("over HTTP", "")
    assert flat["server"]["endpoint"] == "completions"


@pytest.mark.usefixtures("measured")
def test_llama_bench_has_no_line_of_another_engine(tmp_path: Path) -> None:
    study = small.study(runtimes=RUNTIMES)
    write_llama_bench(tmp_path / "speed.jsonl", study, read_records(study))
    lines = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert {line["llmpi"]["runtime"] for line in lines} == {"default"}


@pytest.mark.usefixtures("measured")
def test_what_http_costs_stands_beside_the_cell_in_process() -> None:
    [cell] = small.summary(runtimes=RUNTIMES)[0]["over_http"]
    assert (cell["runtime"], cell["against"]) == ("server", "default")
    assert cell["against_tg_tps"] == pytest.approx(10)
    assert cell["tg_less_pct"] == pytest.approx(-100)
    assert cell["ttft_more_s"] == pytest.approx(0.5 - 1.1)
    assert cell["ttft_beyond_own_s"] == pytest.approx(0.5 - 100 / 250)


@pytest.mark.usefixtures("results")
def test_counters_that_are_silent_once_are_none() -> None:
    told = served(tg_tps=21.0)
    cell = cell_over_http(told)
    cell["repetitions"][1] = {**cell["repetitions"][1], "served": served()}
    found = session_over_http(cell)
    write(layout.BENCH, found, **{**CELL, "runtime": "server"})
    [told_of] = small.summary(runtimes=RUNTIMES)[0]["over_http"]
    assert (told_of["own_tg_tps"], told_of["ttft_beyond_own_s"]) == (None, None)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("quality", [{}, None])
def test_it_is_never_ranked(quality: dict[str, object] | None) -> None:
    """Not even as what would be taken if it did not count against it, and it is the fastest."""
    more: dict[str, object] = {} if quality is None else {"quality": quality, "gates": []}
    summary, requirements = small.summary(runtimes=RUNTIMES, **more)
    chosen = recommend(summary, requirements, Constraints(prefer="speed"))
    [theirs] = (c for c in chosen["candidates"] if c["runtime"] == "server")
    assert theirs["killed_by"][0] == {"kind": "marked", "mark": "over HTTP"}
    overall = chosen["decisions"][0]
    named = json.dumps({key: value for key, value in overall.items() if key != "killed"})
    assert theirs["id"] not in named
    assert overall["killed"]["over HTTP"] == 1


@pytest.mark.usefixtures("measured")
def test_the_page_has_a_table_of_its_own_for_it(tmp_path: Path) -> None:
    found = page(tmp_path, runtimes=RUNTIMES)
    assert "Over HTTP" in found.text
    assert "chat 20.0 21.0 10.0 -100.0 200.0 250.0 500 1,100 100.0" in found.text
    assert "pi m F16 server runs on the device, completions, llama.cpp, m-f16" in found.text
    assert "127.0.0.1" not in json.dumps(found.data), "how it is reached is nobody else's business"
    assert "file: m.gguf; type: f16; template: not stated" in found.text
    assert "it was measured over HTTP and is not ranked with what is in process" in found.text
    (tmp_path / "other").mkdir()
    assert "Over HTTP" not in page(tmp_path / "other").text


@pytest.mark.usefixtures("measured")
def test_the_page_says_so_in_japanese(tmp_path: Path) -> None:
    summary, requirements = small.summary(runtimes=RUNTIMES, languages=["ja"])
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(summary, chosen, tmp_path / "index.html")
    shown = (tmp_path / "index.html").read_text(encoding="utf-8")
    for said in ("HTTP経由", "ファイル：m.gguf", "テンプレート：記載なし", "順位を付けません"):
        assert said in shown


@pytest.mark.usefixtures("measured")
def test_the_charts_of_speed_leave_it_out(tmp_path: Path) -> None:
    found: Page = page(tmp_path, runtimes=RUNTIMES)
    figures = found.data["languages"]["en"]["figures"]
    assert "(datum.endpoint === null)" in json.dumps(figures["tg"])
    assert {cell["endpoint"] for cell in found.cells()} == {None, "completions"}


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("language", "said"), [("en", "not ranked"), ("ja", "順位も付けて")])
def test_the_memo_names_them_and_ranks_none(language: Any, said: str) -> None:
    summary, requirements = small.summary(runtimes=RUNTIMES)
    chosen: Any = {**recommend(summary, requirements, Constraints()), "money": None}
    memo = facts(summary, chosen)
    assert memo["over_http"] == 1
    assert all("server" not in v["id"] for v in memo["table"])
    assert said in text.render(memo, language)


# --- what it answers ------------------------------------------------------------------------------


@pytest.fixture
def asked_too(measured: None) -> SquadAsked:
    found = answers(4)
    check(json.dumps(found), SquadAsked, "answers")
    write(layout.ASKED, found, **{**CELL, "runtime": "server"}, task="qa")
    return found


def test_questions_are_asked_of_each_session_with_an_endpoint() -> None:
    study = small.study(runtimes=RUNTIMES)
    [(session, task)] = asked_over_http(study)
    assert (session.quant, session.runtime, task) == ("F16", "server", "qa")
    assert inputs.asked(study, session, task) in inputs.records(study)["quality"]
    assert not asked_over_http(small.study(runtimes=RUNTIMES, scored_with="default"))


def test_its_scores_are_a_computation_of_its_own(asked_too: SquadAsked) -> None:
    summary, requirements = small.summary(runtimes=RUNTIMES)
    ours, theirs = (row for row in summary["rows"] if row["quant"] == "F16")
    assert (theirs["computation"], theirs["unscored"]) == ("http-server", None)
    f1 = asked_too["summary"]["metrics"]["f1"]["pct"]
    assert theirs["quality"]["qa"]["f1_pct"] == f1
    assert ours["quality"]["qa"]["f1_pct"] == 50
    assert theirs["gates_failed"] == []
    [cell] = summary["over_http"]
    [score] = cell["scores"]
    assert (score["pct"], score["against_pct"]) == (f1, 50)
    # In process the first five of nine are right, over HTTP the first four.
    assert score["difference_pct"] == pytest.approx(-100 / 9)
    told = {one["computation"] for r in requirements["requirements"] for one in r["variants"]}
    assert "http-server" not in told, "nothing is decided by it"
    assert "http-server" not in json.dumps(summary["sections"])


def test_without_its_answers_it_has_no_score_and_says_why(measured: None) -> None:
    rows = small.rows(runtimes=RUNTIMES)
    [theirs] = (row for row in rows if row["runtime"] == "server")
    assert "not run yet" in str(theirs["quality"]["qa"]["reason"])
    rows = small.rows(runtimes=RUNTIMES, scored_with="default")
    [theirs] = (row for row in rows if row["runtime"] == "server")
    assert (theirs["computation"], theirs["unscored"]) == ("http-server", "over HTTP")
    assert "no question was asked" in str(theirs["quality"]["qa"]["reason"])


def test_who_does_not_count_a_prompt_has_no_cost_of_an_answer(asked_too: SquadAsked) -> None:
    [theirs] = (row for row in small.rows(runtimes=RUNTIMES) if row["runtime"] == "server")
    assert theirs["answers"]["qa"]["prompt_p50_tokens"]
    silent = [{**item, "prompt_tokens": 0} for item in asked_too["items"]]
    write(layout.ASKED, {**asked_too, "items": silent}, **{**CELL, "runtime": "server"}, task="qa")
    [theirs] = (row for row in small.rows(runtimes=RUNTIMES) if row["runtime"] == "server")
    assert not theirs["answers"]


@pytest.mark.usefixtures("asked_too")
@pytest.mark.parametrize(
    ("language", "said"), [("en", "type: f16 template: not stated"), ("ja", "形式：f16")]
)
def test_the_page_tells_its_scores_apart(tmp_path: Path, language: str, said: str) -> None:
    summary, requirements = small.summary(runtimes=RUNTIMES, languages=[language])
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(summary, chosen, tmp_path / "index.html")
    text = Page((tmp_path / "index.html").read_text(encoding="utf-8")).text
    assert "-11.1" in text or "−11.1" in text
    assert said in text


@pytest.mark.usefixtures("asked_too")
def test_what_answers_well_over_http_is_not_ranked_either() -> None:
    summary, requirements = small.summary(runtimes=RUNTIMES)
    chosen = recommend(summary, requirements, Constraints(prefer="quality"))
    [theirs] = (c for c in chosen["candidates"] if c["runtime"] == "server")
    assert theirs["killed_by"][0] == {"kind": "marked", "mark": "over HTTP"}


@pytest.mark.parametrize(("elsewhere", "told"), [(False, None), (True, "another one computed")])
def test_a_meter_of_who_asks_is_no_meter_of_who_computes(elsewhere: bool, told: str | None) -> None:
    meter: Any = {
        "kind": "rapl",
        "path": None,
        "interval_s": 0.1,
        "accuracy_pct": None,
    }
    samples: Any = [{"t": float(t), "p": 5.0} for t in range(4)]
    found = session._power(samples, meter, 0.0, elsewhere=elsewhere)
    if told:
        assert isinstance(found, str) and told in found
    else:
        assert not isinstance(found, str)
