"""What a canary is to expect: which questions are chosen, and where the limits lie."""

import json
from pathlib import Path

import canary_service
import made_records
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi import cli
from llmpi.device.monitor.records import Prefix, Question
from llmpi.engine.records import FailedCell
from llmpi.errors import LlmpiError
from llmpi.operate.expectation import (
    FEWEST_QUESTIONS,
    PREFIXES,
    QUESTIONS,
    SURE_NATS,
    UNANSWERABLE,
    candidates,
    choose_prefixes,
    choose_questions,
    expectation,
    measured_speed,
    wilson_low,
)
from llmpi.quality.squad.records import AskedQuestion, SquadDocument
from llmpi.records import write_json
from llmpi.study.file import load_study

# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "items", "low"),
    # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
    [(81 / 263, 263, 0.2553), (15 / 148, 148, 0.0624), (0 / 20, 20, 0.0), (1 / 29, 29, 0.0061)],
)
def test_wilson_is_the_published_one(mean: float, items: int, low: float) -> None:
    assert wilson_low(mean, items) == pytest.approx(low, abs=5e-5)


@given(st.floats(0, 1), st.integers(1, 1000))
def test_the_limit_is_below_the_mean_and_leaves_room_at_the_top(mean: float, items: int) -> None:
    low = wilson_low(mean, items)
    assert 0 <= low <= mean + 1e-12
    assert low < 1


def test_the_speed_is_the_median_of_the_repetitions() -> None:
    repetitions = [made_records.repetition(s, [s / 10, s / 10]) for s in (1.0, 4.0, 2.0)]
    asked = made_records.workload(prompt_tokens=8, output_tokens=2)
    speed = measured_speed(made_records.cell(repetitions, asked), "x")
    assert speed == (8, 2, 4.0, pytest.approx(5.0))
    failed: FailedCell = {**made_records.failed("no memory"), "workload": asked, "levels": []}
    with pytest.raises(LlmpiError, match=r"pi5: was not measured \(no memory\)"):
        measured_speed(failed, "pi5")


# --- questions ------------------------------------------------------------------------------------


def asked(name: str, golds: list[str], answer: str, margin: float) -> Question:
    return {"id": name, "prompt": "?", "golds": golds, "answer": answer, "margin_nats": margin}


def test_the_surest_right_answers_are_asked_of_both_kinds() -> None:
    right = [asked(f"a{i}", ["two"], "two", 0.1 * i) for i in range(20)]
    wrong = [asked(f"w{i}", ["two"], "three", 9.0) for i in range(20)]
    none = [asked(f"n{i}", [], "unanswerable", 0.1 * i) for i in range(20)]
    mixed = [q for trio in zip(right, wrong, none, strict=True) for q in trio]
    chosen = [q["id"] for q in choose_questions(mixed, "en", "x")]
    assert len(chosen) == QUESTIONS
    assert chosen == [q["id"] for q in mixed if q["id"] in chosen], "in the order of the passages"
    assert set(chosen) == {f"a{i}" for i in range(8, 20)} | {f"n{i}" for i in range(16, 20)}


@given(st.integers(0, 30), st.integers(0, 30))
def test_as_many_as_there_are(answerable: int, unanswerable: int) -> None:
    questions = [asked(f"a{i}", ["two"], "two", i) for i in range(answerable)]
    questions += [asked(f"n{i}", [], "unanswerable", i) for i in range(unanswerable)]
    if len(questions) < FEWEST_QUESTIONS:
        with pytest.raises(LlmpiError, match="answers only"):
            choose_questions(questions, "en", "m Q2_K")
        return
    chosen = choose_questions(questions, "en", "x")
    assert len(chosen) == min(QUESTIONS, len(questions))
    none = sum(not q["golds"] for q in chosen)
    assert none >= min(UNANSWERABLE, unanswerable)


def test_answers_are_compared_as_their_language_is() -> None:
    """A full stop of its own, digits in their other width; part of a word without blanks."""
    right = [asked(f"q{i}", ["東京都"], answer, i) for i, answer in enumerate(["東京都。", "東京"])]
    right += [asked("n", [], "unanswerable。", 3.0), asked("d", ["42"], "４２", 4.0)]
    assert choose_questions(right, "ja", "x") == right
    with pytest.raises(LlmpiError, match="answers only 0 questions"):
        choose_questions(right, "en", "x")


def test_candidates_are_what_the_variant_answered() -> None:
    qas: list[AskedQuestion] = [
        {"id": "1", "question": "Who?", "is_impossible": False, "answers": [{"text": "Ada"}]},
        {"id": "2", "question": "When?", "is_impossible": True, "answers": []},
    ]
    document: SquadDocument = {
        "version": "v2.0",
        "data": [{"title": "", "paragraphs": [{"context": "Ada wrote.", "qas": qas}]}],
    }
    items = [made_records.item(1, 0, 0.5), made_records.item(2, 0, 0.0, answerable=False)]
    [found] = candidates(made_records.squad(items), {**made_records.questions(), "squad": document})
    assert (found.id, found.golds) == ("1", ["Ada"])
    assert found.messages[-1]["content"].endswith("Passage: Ada wrote.\n\nQuestion: Who?")


# --- prefixes -------------------------------------------------------------------------------------


def prefix(place: int, margin_nats: float) -> Prefix:
    return {"prompt": str(place), "next": "next", "margin_nats": margin_nats}


def test_prefixes_are_spread_over_what_is_sure() -> None:
    found = [prefix(i, i % 2) for i in range(200)]
    chosen = choose_prefixes(found)
    assert len(chosen) == PREFIXES
    assert all(one["margin_nats"] >= SURE_NATS for one in chosen)
    places = [int(one["prompt"]) for one in chosen]
    assert places == sorted(set(places))
    assert places[0] < 10 < 190 < places[-1]


def test_where_nothing_is_sure_the_surest_are_taken() -> None:
    found = [prefix(i, i / 1000) for i in range(100)]
    assert [int(p["prompt"]) for p in choose_prefixes(found)] == list(range(68, 100))
    assert len(choose_prefixes(found[:5])) == 5


# --- records that are missing, files that are none ------------------------------------------------


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support import ROOT

    study = load_study(ROOT / "config/config.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LlmpiError, match=r"results/gguf/smollm2-135m/F16.json: is not there yet"):
        expectation(study, "smollm2-135m", "F16", "workstation", threads=1)
    with pytest.raises(
        LlmpiError, match=r"does not run pi5/smollm2-135m/F16/default; it runs workstation"
    ):
        expectation(study, "smollm2-135m", "F16", "pi5", threads=1)


def test_the_command_line_writes_rules_and_dashboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expect, out = tmp_path / "e.json", tmp_path / "out"
    whole = canary_service.expectation()
    write_json(expect, whole)
    assert cli.main(["monitor", "rules", str(expect), "--out", str(out)]) == 0
    assert "vector(8.5)" in out.read_text()
    assert cli.main(["monitor", "dashboard", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["title"]
    write_json(expect, {key: value for key, value in whole.items() if key != "gguf_bytes"})
    assert cli.main(["monitor", "rules", str(expect), "--out", str(out)]) == 1
    assert f"{expect}: gguf_bytes: Field required" in capsys.readouterr().err
