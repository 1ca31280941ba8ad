"""Tables that broke the rule of commit 7147956, each with the right answer.

There "cannot be told apart" was taken for "equal", overall F1 decided alone, and the descent did
not count.
"""

from typing import Literal

import pytest
from made_decision import decided, first, picked, summary, verdicts
from made_evidence import Truth, answers, requirements

from llmpi.decide.choice import recommend
from llmpi.quality.evidence import Requirements, Sequential
from llmpi.study.decision import Constraints
from llmpi.study.runs import Scored

F16, Q8, Q4, Q3, Q2 = (Scored("m", quant) for quant in ("F16", "Q8_0", "Q4_0", "Q3_K_M", "Q2_K"))


@pytest.mark.parametrize("prefer", ["quality", "speed", "memory"])
def test_an_abstainer_is_not_taken_for_its_overall_f1(prefer: str) -> None:
    """400 questions on 80 passages; 65.0, 69.2 and 70.5 in all, by abstaining ever more often."""
    truths = {F16: Truth(79.0, 51.7), Q4: Truth(51.8, 85.9), Q2: Truth(44.1, 95.6)}
    found = decided(answers(truths, 80, 5), prefer=prefer, f1_drop_at_most=3)
    assert picked(found) == F16
    assert first(found)["standing"] == "shown"
    assert verdicts(found) == {F16: "holds", Q4: "fails", Q2: "fails"}


@pytest.mark.parametrize("prefer", ["quality", "speed", "memory"])
def test_what_is_worse_is_not_taken_because_a_weaker_test_cannot_tell(prefer: str) -> None:
    """600 questions on 120 passages: Q4_0 is 3.7 points behind F16 and 5.0 behind Q8_0."""
    truths = {F16: Truth(71.5, 71.5), Q8: Truth(72.8, 72.8), Q4: Truth(67.8, 67.8)}
    found = decided(answers(truths, 120, 5), prefer=prefer)
    assert picked(found) in (F16, Q8)
    assert verdicts(found)[Q4] == "undecided"


@pytest.mark.parametrize("passages", [1, 9])
def test_few_questions_help_nobody(passages: int) -> None:
    """Five questions on one passage, 100, 100, 100, 60 and 40 %; and as many passages as are too
    few by one."""
    truths = {q: Truth(f1, f1) for q, f1 in ((F16, 100), (Q8, 100), (Q4, 100), (Q3, 60), (Q2, 40))}
    found = decided(answers(truths, passages, 10))
    assert picked(found) is None
    assert first(found)["killed"] == {"too few": 5}


def test_the_descent_holds() -> None:
    """Q4_0 fails it, losing 21.5 points (5.9 to 34.9) with a margin of 5; Q8_0 holds it."""
    truths = {F16: Truth(80, 80), Q8: Truth(80, 80), Q4: Truth(80, 80)}
    asked = requirements(answers(truths, 80, 5))
    stopped = {Q8: sequential("holds", 0.4, -2, 3), Q4: sequential("fails", 21.5, 5.9, 34.9)}
    found = decided(answers(truths, 80, 5), asked=descended(asked, stopped), prefer="speed")
    assert verdicts(found) == {F16: "holds", Q8: "holds", Q4: "fails"}
    assert picked(found) == Q8
    assert first(found)["standing"] == "shown"


def test_an_undecided_descent_is_no_permission() -> None:
    truths = {F16: Truth(80, 80), Q4: Truth(80, 80)}
    asked = requirements(answers(truths, 80, 5))
    stopped = {Q4: sequential("undecided", 1, -6, 8)}
    found = decided(answers(truths, 80, 5), asked=descended(asked, stopped), prefer="speed")
    assert picked(found) == F16
    assert verdicts(found)[Q4] == "undecided"


def sequential(
    decision: Literal["holds", "fails", "undecided"], loss: float, low: float, high: float
) -> Sequential:
    return {
        "kind": "sequential",
        "decision": decision,
        "items": 60,
        "clusters": 12,
        "loss_pct": loss,
        "low_pct": low,
        "high_pct": high,
    }


def descended(asked: Requirements, stopped: dict[Scored, Sequential]) -> Requirements:
    """With the descent's verdicts in place of the losses of F1 where there is an answer."""
    f1, *others = asked["requirements"]
    variants = [
        {**one, "loss": stopped.get(Scored(one["model"], one["quant"]), one["loss"])}
        for one in f1["variants"]
    ]
    return {**asked, "requirements": [{**f1, "variants": variants}, *others]}


def test_no_scores_no_recommendation() -> None:
    found = recommend(summary({F16: None, Q2: None}), requirements({}), Constraints())
    assert picked(found) is None
    assert first(found)["killed"] == {"no quality": 2}
