"""What of a runtime changes the output, and whose score is whose."""

import json
import re
from pathlib import Path
from typing import get_args

import made_records as made
import pytest
from made_records import write
from scripts import main_of
from small_results import CELL, bench, chat, manifest, quality, study, summary

from llmpi import layout
from llmpi.decide.candidates import blamed
from llmpi.decide.choice import recommend
from llmpi.decide.records import Choice
from llmpi.engine.records import SingleCell
from llmpi.quality.kind import Table
from llmpi.report.words.languages import WORDS
from llmpi.report.words.texts import Texts
from llmpi.study import inputs, settings
from llmpi.study.computation import BY_ID, DEFAULT, EFFECTS, Computation, computation_of
from llmpi.study.decision import Constraints
from llmpi.study.measuring import KvType, Runtime
from llmpi.study.runs import Scored, scored
from llmpi.study.study import Study
from llmpi.summary.records import Row, Unscored

LEAN = {"default": {}, "lean": {"kv_cache": "q4_0"}}
LOOKUP = {"kv_cache": "q8_0", "prompt_lookup": {}}


def test_every_key_of_a_runtime_is_classified() -> None:
    assert {*EFFECTS} == {*Runtime.model_fields}
    assert {key for key, effect in EFFECTS.items() if effect == "computes"} == {
        *Computation._fields
    }


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ({}, "f16"),
        ({"flash_attention": "on"}, "f16"),
        ({"flash_attention": "off"}, "f16-noflash"),
        ({"kv_cache": "q4_0"}, "q4_0"),
        ({"kv_cache": "f32", "flash_attention": False}, "f32-noflash"),
        ({"threads": 3, "batch_tokens": 64, "ubatch_tokens": 32, "repack": False}, "f16"),
        ({"mlock": True, "repack": False, "mmap": False, "omp_wait_policy": "active"}, "f16"),
        ({"lazy": "on"}, "f16"),
        ({"tune": True}, "f16"),
        (LOOKUP, "q8_0"),
    ],
)
def test_what_runtimes_compute(runtime: dict[str, object], expected: str) -> None:
    assert computation_of(Runtime.model_validate(runtime)) == expected


def test_ids_name_files_and_lead_back() -> None:
    assert len(BY_ID) == 2 * len(get_args(KvType))
    for name, computation in BY_ID.items():
        assert computation.id == name
        assert re.fullmatch(r"[a-z0-9_]+(-noflash)?", name)
    assert BY_ID[DEFAULT] == Computation()


# --- what is scored -------------------------------------------------------------------------------


def computations(**more: object) -> list[str]:
    return [one.computation for one in scored(study(quants=["F16"], **more))]


def test_each_computation_is_scored_once() -> None:
    same = {"a": {"kv_cache": "q8_0"}, "b": {"kv_cache": "q8_0", "threads": 2}, "c": {"threads": 1}}
    assert computations() == ["f16"]
    assert computations(runtimes=same) == ["f16", "q8_0"]
    assert computations(runtimes=same, scored_with="default") == ["f16"]


def test_what_no_cell_uses_is_not_scored() -> None:
    asked = study(runtimes=LEAN, exclude=[{"runtime": "lean", "quant": "F16"}])
    assert [one for one in scored(asked) if one.computation == "q4_0"] == [
        ("m", "Q4_0", "q4_0"),
        ("m", "Q2_K", "q4_0"),
    ]


def test_a_descent_goes_down_the_default_alone() -> None:
    asked = study(runtimes=LEAN, descent={"task": "qa", "margin_pct": 5})
    narrow, otherwise = Scored("m", "Q4_0"), Scored("m", "Q4_0", "q4_0")
    assert inputs.reference(asked, narrow, "qa") == ["results/quality/s/m/F16/f16/qa.json"]
    assert inputs.reference(asked, otherwise, "qa") == inputs.wider(asked, otherwise, "qa") == []
    assert inputs.by_default(asked, narrow, "qa") == []
    assert inputs.by_default(asked, otherwise, "qa") == ["results/quality/s/m/Q4_0/f16/qa.json"]
    assert inputs.by_default(asked, Scored("m", "F16", "q4_0"), "qa") == []


def test_what_a_descent_skipped_is_skipped_with_every_cache(tmp_path: Path) -> None:
    skipped = {"status": "skipped", "stage": "quality", "reason": "Q8_0 fails"}
    spec = {**settings.answers(study(), "m", "qa", "q4_0"), "block_questions": None}
    assert "descent" not in spec
    main_of("evaluate_quality")(
        gguf=tmp_path / "no.gguf",
        manifest={"status": "ok", "sha256": "ab"},
        questions=None,
        reference=None,
        wider=[],
        by_default=skipped,
        spec=spec,
        threads=1,
        store=tmp_path,
        quality=tmp_path / "out.json",
    )
    assert json.loads((tmp_path / "out.json").read_text()) == skipped


# --- whose score a cell has -----------------------------------------------------------------------


def measured(**more: object) -> Study:
    """F16 and Q4_0 of a study with the runtimes, measured; both scored by default, at 50."""
    asked = study(quants=["F16", "Q4_0"], **more)
    write(layout.MODEL_MANIFEST, made.model("m"), model="m")
    write(layout.QUESTIONS, made.questions(), study="s", task="qa")
    for quant in asked.quants:
        write(layout.GGUF_MANIFEST, manifest(quant), model="m", quant=quant)
        score(50.0, quant=quant)
        for i, runtime in enumerate(asked.runtimes):
            cell = {**CELL, "quant": quant, "runtime": runtime}
            write(layout.BENCH, bench(speed(1 + i)), **cell)
    return asked


def speed(times: float, output: tuple[int, ...] = (1, 2, 3, 4), **more: int) -> SingleCell:
    done = [{**made.repetition(1.0, [0.1 / times] * 3), **more} for _ in range(3)]
    return {**chat(), "repetitions": done, "output": [*output]}


def score(f1_pct: float, quant: str = "Q4_0", computation: str = DEFAULT) -> None:
    where = {"study": "s", "model": "m", "task": "qa", "quant": quant, "computation": computation}
    write(layout.QUALITY, quality(f1_pct), **where)


def row_of(runtime: str, quant: str = "Q4_0", **more: object) -> Row:
    rows = summary(quants=["F16", "Q4_0"], **more)[0]["rows"]
    return next(row for row in rows if (row["runtime"], row["quant"]) == (runtime, quant))


def chosen(**more: object) -> Choice:
    return recommend(
        *summary(quants=["F16", "Q4_0"], **more), Constraints.model_validate({"prefer": "speed"})
    )


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_cache_that_was_not_scored_is_not_picked() -> None:
    """Nor is the default's score taken for its own; that, of three passages, shows nothing."""
    how: dict[str, object] = {"runtimes": LEAN, "scored_with": "default", "gates": []}
    measured(**how)
    row = row_of("lean", **how)
    assert (row["computation"], row["unscored"]) == ("q4_0", "default only")
    assert row["quality"]["qa"]["f1_pct"] is None
    assert row["quality"]["qa"]["status"] == "not run"
    assert str(row["quality"]["qa"]["reason"]).startswith("not scored with this cache (q4_0)")
    found = chosen(**how)
    out = {c["id"]: [blamed(by) for by in c["killed_by"]] for c in found["candidates"]}
    assert out == {
        "pi/m/F16/default": ["too few"],
        "pi/m/F16/lean": ["computation"],
        "pi/m/Q4_0/default": ["too few"],
        "pi/m/Q4_0/lean": ["computation"],
    }
    assert found["decisions"][0]["pick"] is None


def test_a_cache_has_its_own_score_and_is_held_against_the_default() -> None:
    measured(runtimes=LEAN)
    score(10.0, "F16", "q4_0")
    score(5.0, "Q4_0", "q4_0")
    plain, lean = (row_of(runtime, runtimes=LEAN) for runtime in LEAN)
    assert (plain["quality"]["qa"]["f1_pct"], lean["quality"]["qa"]["f1_pct"]) == (50, 5)
    widest = row_of("lean", "F16", runtimes=LEAN)
    assert widest["quality"]["qa"]["f1_difference_pct"] is not None
    assert row_of("default", "F16", runtimes=LEAN)["quality"]["qa"]["f1_difference_pct"] is None
    assert [o["got_pct"] for o in lean["gates_failed"]] == [5]
    found = {c["id"]: c for c in chosen(runtimes=LEAN)["candidates"]}
    own = found["pi/m/Q4_0/lean"]["f1"]
    assert own and own["value"] == 5


def test_scores_of_a_cache_that_are_not_there_yet_are_not_the_defaults() -> None:
    measured(runtimes=LEAN)
    assert row_of("lean", runtimes=LEAN)["quality"]["qa"]["f1_pct"] is None
    killed = {
        c["id"]: [blamed(by) for by in c["killed_by"]] for c in chosen(runtimes=LEAN)["candidates"]
    }
    assert killed["pi/m/Q4_0/lean"] == ["unscored"]


def test_gates_of_what_was_not_scored_are_failed() -> None:
    how: dict[str, object] = {"runtimes": LEAN, "scored_with": "default"}
    measured(**how)
    assert [o["why"] for o in row_of("lean", **how)["gates_failed"]] == ["not scored"]


@pytest.mark.parametrize(
    ("output", "twin", "unscored"),
    [
        ((1, 2, 3, 4), True, None),
        ((1, 2, 3, 5), True, "prompt lookup"),
        ((1, 2, 3, 4), False, "prompt lookup"),
    ],
)
def test_prompt_lookup_has_the_score_of_the_text_that_it_is_shown_to_say(
    output: tuple[int, ...], twin: bool, unscored: Unscored | None
) -> None:
    runtimes = {"plain": {"kv_cache": "q8_0"}} if twin else {}
    runtimes |= {"quick": LOOKUP}
    measured(runtimes=runtimes)
    score(40.0, computation="q8_0")
    looked_up = speed(3, output, steps=2, drafted=4, accepted=1)
    write(layout.BENCH, bench(looked_up), **{**CELL, "quant": "Q4_0", "runtime": "quick"})
    row = row_of("quick", runtimes=runtimes)
    assert row["unscored"] == unscored
    assert row["computation"] == ("q8_0-lookup" if unscored else "q8_0")
    assert row["quality"]["qa"]["f1_pct"] == (None if unscored else 40)


def test_what_an_answer_takes_is_not_told_by_a_drafted_speed() -> None:
    """It is that of the workload's text, which may be a copy, and no task's answers are one."""
    runtimes = {"plain": {"kv_cache": "q8_0"}, "quick": LOOKUP}
    how: dict[str, object] = {"runtimes": runtimes}
    measured(**how)
    score(40.0, computation="q8_0")
    looked_up = speed(3, steps=2, drafted=4, accepted=1)
    write(layout.BENCH, bench(looked_up), **{**CELL, "quant": "Q4_0", "runtime": "quick"})
    plain, quick = (row_of(runtime, **how) for runtime in runtimes)
    assert plain["quality"] == quick["quality"]
    assert plain["answers"]["qa"]["answer_p50_s"] > 0
    assert quick["answers"] == {}
    limits = Constraints.model_validate({"prefer": "speed", "task": "qa", "answer_s_at_most": 1e6})
    found = recommend(*summary(quants=["F16", "Q4_0"], **how), limits)["candidates"]
    [killed] = [one["killed_by"] for one in found if one["id"] == "pi/m/Q4_0/quick"]
    assert "answer_s_at_most" in map(blamed, killed)


@pytest.mark.parametrize("also", [False, True])
def test_a_search_that_ends_elsewhere_has_the_score_of_that_or_none(also: bool) -> None:
    runtimes: dict[str, object] = {"default": {}, "tuned": {"tune": True}}
    if also:
        runtimes |= {"small": {"kv_cache": "q8_0"}}
    measured(runtimes=runtimes)
    if also:
        score(30.0, computation="q8_0")
    found = made.tuned()
    ended = {**found, "runtime": {**found["runtime"], "kv_cache": "q8_0"}}
    write(layout.TUNED, ended, **{**CELL, "quant": "Q4_0", "runtime": "tuned"})
    write(layout.TUNED, found, **{**CELL, "quant": "F16", "runtime": "tuned"})
    row = row_of("tuned", runtimes=runtimes)
    assert (row["computation"], row["unscored"]) == ("q8_0", None if also else "tuned")
    assert row["quality"]["qa"]["f1_pct"] == (30 if also else None)
    assert row_of("tuned", "F16", runtimes=runtimes)["quality"]["qa"]["f1_pct"] == 50


def test_a_search_that_ends_at_drafts_is_not_shown_to_say_the_same() -> None:
    """Beside nothing but itself it always would."""
    runtimes = {"plain": {"kv_cache": "q8_0"}, "tuned": {"kv_cache": "q8_0", "tune": True}}
    measured(runtimes=runtimes)
    score(40.0, computation="q8_0")
    found = made.tuned()
    drafts = {"kv_cache": "q8_0", "prompt_lookup": {"ngram": 3, "draft_tokens": 3}}
    ended = {**found, "runtime": {**found["runtime"], **drafts}}
    where = {**CELL, "quant": "Q4_0", "runtime": "tuned"}
    write(layout.TUNED, ended, **where)
    looked_up = speed(3, (1, 2, 3, 4), steps=2, drafted=4, accepted=1)
    write(layout.BENCH, bench(looked_up), **where)
    row = row_of("tuned", runtimes=runtimes)
    assert (row["computation"], row["unscored"]) == ("q8_0-lookup", "prompt lookup")
    assert row["quality"]["qa"]["f1_pct"] is None


def test_without_quality_tasks_nothing_is_missed() -> None:
    how: dict[str, object] = {"runtimes": LEAN, "quality": {}, "gates": []}
    measured(**how)
    assert row_of("lean", **how)["unscored"] is None


# --- what another cache costs ---------------------------------------------------------------------


def table(**more: object) -> Table:
    sections = summary(quants=["F16", "Q4_0"], **more)[0]["sections"]
    [part] = next(section for section in sections if section["id"] == "caches")["parts"]
    assert part["table"]
    return part["table"]


def test_the_page_has_the_studys_own_numbers_beside_the_defaults() -> None:
    measured(runtimes=LEAN)
    score(5.0, "Q4_0", "q4_0")
    [*_, f1] = table(runtimes=LEAN)["rows"]
    assert (f1["model"], f1["quant"], f1["computation"]) == ("m", "Q4_0", "q4_0")
    assert (f1["figure"], f1["by_default"], f1["own"], f1["difference"]) == ("F1, %", 50, 5, -45)


def test_it_has_those_of_the_parity_text_where_no_other_cache_was_scored() -> None:
    how: dict[str, object] = {"runtimes": LEAN, "scored_with": "default"}
    measured(**how)
    rows = {str(row["what"]): row["kl_high"] for row in table(**how)["rows"]}
    assert rows["KV cache q8_0"] == 0.007
    labels = Texts("ja")
    assert all(labels.label(what) != what for what in rows)


def test_a_table_says_the_computation_where_there_are_several() -> None:
    measured(runtimes=LEAN)
    score(5.0, "Q4_0", "q4_0")
    by_runtimes = [
        next(s for s in summary(quants=["F16", "Q4_0"], **how)[0]["sections"] if s["id"] == name)
        for name, how in (("comparisons", {"runtimes": LEAN}), ("comparisons", {}))
    ]
    keys = [[c["key"] for c in s["parts"][0]["table"]["columns"]] for s in by_runtimes]
    assert ["computation" in found for found in keys] == [True, False]
    rows = by_runtimes[0]["parts"][0]["table"]["rows"]
    assert [(row["quant"], row["computation"]) for row in rows] == [
        ("Q4_0", "f16"),
        ("Q4_0", "q4_0"),
    ]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_is_said_why(language: str) -> None:
    said = {
        why: WORDS[language].kill({"kind": "computation", "computation": "q4_0", "unscored": why})  # type: ignore[index]
        for why in get_args(Unscored)
    }
    assert len({*said.values()}) == len(said)
    assert all("q4_0" in text for why, text in said.items() if why != "over HTTP")
