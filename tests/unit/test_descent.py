"""A step of the descent: when it is skipped, and what its verdict is made of."""

from typing import Any

import pytest
from made_records import answer

from llmpi.quality.reasons import reason_text
from llmpi.quality.squad.descent import Step, paragraph_losses

SETTINGS = {"task": "qa", "metric": "f1", "margin_pct": 10.0, "alpha": 0.05}


def items(scores: dict[int, list[float]]) -> list[dict[str, Any]]:
    """paragraph -> F1 of its questions."""
    return [
        {"id": f"{paragraph}-{i}", "paragraph": paragraph, "f1": f1, "exact": int(f1)}
        for paragraph, values in scores.items()
        for i, f1 in enumerate(values)
    ]


def ok(scores: dict[int, list[float]], decision: str | None = None) -> dict[str, Any]:
    verdict = {"decision": decision} if decision else None
    return {"status": "ok", "items": items(scores), "descent": verdict}


FAILS = ok({}, "fails")


def step(wider: dict[str, Any], reference: dict[str, Any] | None = None) -> Step:
    return Step(SETTINGS, reference or ok({0: [1.0]}), {"Q6_K": wider})


@pytest.mark.parametrize(
    ("wider", "reason"),
    [
        (ok({}), ""),  # the widest itself, which has no verdict
        (ok({}, "holds"), ""),
        (ok({}, "fails"), "Q6_K fails at a margin of 10 points"),
        (ok({}, "undecided"), "Q6_K was not shown to hold at a margin of 10 points"),
        (
            {"status": "skipped", "obstacles": Step(SETTINGS, ok({}), {"Q8_0": FAILS}).skip()},
            "Q8_0 fails at a margin of 10 points",
        ),
        (
            {"status": "failed", "reason": "no memory"},
            "Q6_K, the next wider, was not scored: no memory",
        ),
    ],
)
def test_it_goes_on_only_where_the_wider_one_holds(wider: dict[str, Any], reason: str) -> None:
    assert reason_text(step(wider).skip()) == reason


def test_one_variant_of_the_wider_type_that_holds_is_enough() -> None:
    whole = ok({0: [1.0]})
    both = Step(SETTINGS, whole, {"Q4_0": FAILS, "Q4_0-qat": ok({}, "holds")})
    none = Step(SETTINGS, whole, {"Q4_0": FAILS, "Q4_0-qat": FAILS})
    assert both.skip() == []
    assert [obstacle["variant"] for obstacle in none.skip()] == ["Q4_0", "Q4_0-qat"]
    below = {"status": "skipped", "obstacles": none.skip()}
    again = Step(SETTINGS, whole, {"Q2_K": below, "Q2_K-qat": below})
    assert again.skip() == none.skip(), "each once"


def test_without_a_reference_there_is_nothing_to_hold_against() -> None:
    lost = {"status": "failed", "reason": "a crash"}
    said = reason_text(step(ok({}, "holds"), lost).skip())
    assert said == "the widest variant was not scored: a crash"


def test_losses_are_means_over_paragraphs() -> None:
    reference = items({3: [1.0, 1.0, 0.0], 5: [0.5], 7: [1.0]})
    variant = items({3: [0.0, 1.0, 1.0], 5: [0.0]})
    assert paragraph_losses(reference, variant, "f1") == pytest.approx([0.0, 0.5])


def test_abstaining_from_everything_is_a_loss_where_there_is_an_answer() -> None:
    """What the paper's protocol could not see, the other way round: silence scores on NoAns."""
    asked = {"a": ["x"], "b": ["y"], "c": []}
    reference = [
        {"id": i, "paragraph": 0, "golds": g, "f1": float(bool(g))} for i, g in asked.items()
    ]
    silent = [{"id": i, "paragraph": 0, "golds": g, "f1": float(not g)} for i, g in asked.items()]
    assert paragraph_losses(reference, silent, "f1") == pytest.approx([1 / 3])
    assert paragraph_losses(reference, silent, "has_ans_f1") == pytest.approx([1.0])


def test_fluent_garbage_fails_whatever_it_sounds_like() -> None:
    """The paper's Q2_K: whole sentences in which the answer is not."""
    from llmpi.quality.squad.items import score_items, summarize
    from llmpi.quality.squad.metric import Paragraph, Question

    passages = [
        Paragraph(f"Pump {i} ran.", (Question(f"{i}", "Which pump ran?", (f"Pump {i}",)),))
        for i in range(60)
    ]
    order = range(len(passages))
    said = "The answer to the question is that the system was designed to be used by the people."
    right = [answer(f"Pump {i}", log_likelihood=-9.0) for i in order]
    fluent = [answer(said, log_likelihood=-9.0) for _ in order]
    reference = {
        "status": "ok",
        "items": score_items(passages, order, right, "en"),
        "descent": None,
    }
    garbage = score_items(passages, order, fluent, "en")
    assert summarize(garbage)["metrics"]["f1"]["pct"] < 1
    verdict = Step(SETTINGS, reference, {"F16": reference}).verdict(garbage)
    assert verdict["decision"] == "fails"


def test_verdict_of_an_equal_and_of_a_broken_variant() -> None:
    reference = ok({i: [1.0, 1.0] for i in range(100)})
    equal = step(ok({}), reference).verdict(reference["items"])
    assert equal["decision"] == "holds"
    assert (equal["loss_pct"], equal["questions"], equal["of_questions"]) == (0.0, 200, 200)
    assert 0 < equal["high_pct"] < 10
    broken = step(ok({}), reference).verdict(items({i: [0.0, 0.0] for i in range(10)}))
    assert (broken["decision"], broken["loss_pct"]) == ("fails", 100.0)
    few = step(ok({}), reference).verdict(items({0: [1.0, 1.0]}))
    assert few["decision"] == "undecided"
    assert few["paragraphs_needed"] > 1
