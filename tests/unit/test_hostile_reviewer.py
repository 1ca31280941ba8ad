"""What a hostile reviewer found: tables that broke the decision, each with its right outcome."""

import numpy as np
import pytest
from made_decision import decided, first, overall, picked, summary, tasks
from made_evidence import Truth, answers, requirement, requirements

from llmpi.decide.best import Best
from llmpi.decide.choice import recommend
from llmpi.decide.records import Choice
from llmpi.quality.evidence import Requirement, Requirements
from llmpi.study.decision import Constraints
from llmpi.study.runs import Scored

F16, Q8, Q4 = (Scored("m", quant) for quant in ("F16", "Q8_0", "Q4_0"))
OTHER = Scored("x", "F16")


def test_a_requirement_that_a_variant_was_not_scored_on_is_not_held() -> None:
    """Its answers to the safety prompts died: nobody knows whether they are safe."""
    found = answers({F16: Truth(80, 80), Q4: Truth(80, 80)}, 100)
    of_both = requirements(found)["requirements"]
    safety = requirement({F16: found[F16]}, "qa", "passed safety", 2.0, 100)
    choice = decided(found, asked={"study": "s", "requirements": [*of_both, safety]})
    assert picked(choice) == F16
    standing = choice["candidates"][1]["standing"]
    assert standing["verdict"] == "undecided"
    assert standing["requirements"][-1]["why"] == "not compared"
    assert (standing["probability"], standing["more"]) == (None, [])


def test_a_task_that_nobody_was_scored_on_asks_all_the_same() -> None:
    """The engine died on the safety prompts of every variant: there is no requirement to hold."""
    found = answers({F16: Truth(80, 80), Q4: Truth(80, 80)}, 100)
    prompts = {"task": "ab", "prompts": "prompts.jsonl"}
    died = {"status": "failed", "reason": "out of memory"}

    def choice(**margins: None) -> Choice:
        quality = {**tasks(requirements(found)), "own": {**prompts, **margins}}
        study = summary(overall(found), quality=quality)
        for row in study["rows"]:
            row["quality"]["own"] = died
        return recommend(study, requirements(found), Constraints())

    assert picked(choice()) is None
    killed = choice()["candidates"][0]["killed_by"]
    assert killed == [{"kind": "unscored", "task": "own", "reason": "out of memory"}]
    assert picked(choice(passed_drop_at_most=None, safety_drop_at_most=None)) == Q4


def test_the_reference_too_must_reach_a_gate_that_it_was_not_scored_on() -> None:
    found = answers({F16: Truth(80, 80), Q4: Truth(80, 80)}, 100)
    of_both = requirements(found)["requirements"]
    gate: Requirement = {**requirement({Q4: found[Q4]}, "qa", "f1", 10.0, 100), "kind": "gate"}
    choice = decided(found, asked={"study": "s", "requirements": [*of_both, gate]})
    assert choice["candidates"][0]["standing"]["verdict"] == "undecided"
    assert picked(choice) == Q4


def test_a_metric_without_a_margin_is_a_part_of_the_quality_all_the_same() -> None:
    """Nothing is asked of the questions that have an answer: who hardly answers is not the best."""
    found = answers({F16: Truth(80, 80), OTHER: Truth(12, 98)}, 60)
    has_ans, no_ans = requirements(found)["requirements"]
    unasked: Requirement = {**has_ans, "kind": "score", "margin": 0.0}
    asked: Requirements = {"study": "s", "requirements": [unasked, no_ans]}
    assert picked(decided(found, asked=asked)) == F16


def test_of_questions_without_answers_alone_nothing_can_be_said() -> None:
    found = answers({F16: Truth(80, 90), Q4: Truth(80, 100)}, 60)
    has_ans, no_ans = requirements(found)["requirements"]
    asked: Requirements = {"study": "s", "requirements": [{**has_ans, "variants": []}, no_ans]}
    assert first(decided(found, asked=asked))["killed"] == {"too few": 2}


def test_a_wider_one_that_is_worse_in_everything_is_not_taken_for_the_time_being() -> None:
    """F16 does not fit; Q8_0's estimates lie outside the margins, Q4_0's inside."""
    found = answers({F16: Truth(80, 80), Q8: Truth(70, 72), Q4: Truth(80, 77)}, 20)
    qa = {"qa": {"task": "squad", "squad_file": "qa.json"}}
    study = summary(overall(found), quality=qa)
    dead = {"status": "failed", "reason": "out of memory", "marks": []}
    study["rows"] = [{**row, **dead} if row["quant"] == "F16" else row for row in study["rows"]]
    choice = recommend(study, requirements(found), Constraints())
    assert picked(choice) == Q4
    assert first(choice)["standing"] == "provisional"


def test_what_stands_beside_a_provisional_pick_is_smaller() -> None:
    found = answers({F16: Truth(80, 80), Q8: Truth(78, 80), Q4: Truth(80, 80)}, 100)
    choice = decided(found)
    assert picked(choice) == Q4
    assert first(choice)["smaller"] is None


def test_metrics_of_tasks_with_items_of_their_own_make_one_quality() -> None:
    found = answers({F16: Truth(80, 80), Q4: Truth(80, 70)}, 60)
    one, other = requirements(found)["requirements"]
    names = [*one["clusters"], *(f"other {name}" for name in other["clusters"])]
    behind, before = [0] * 60, [0.0] * 60
    moved = []
    for requirement_, early in ((one, True), (other, False)):
        variants = []
        for evidence in requirement_["variants"]:
            score = evidence["score"]
            items, sums = score["items"], score["score"]["sums"]
            variants.append(
                {
                    **evidence,
                    "loss": None,
                    "reference": True,
                    "score": {
                        "items": items + behind if early else behind + items,
                        "score": {
                            **score["score"],
                            "sums": sums + before if early else before + sums,
                        },
                    },
                }
            )
        moved.append({**requirement_, "clusters": names, "variants": variants})
    assert Best(moved).estimate(F16).value == pytest.approx(80)


def test_two_that_never_differed_so_far_may_differ_yet() -> None:
    """20 questions, all right, of both models: neither has a quality of 100 for sure."""
    whole = np.ones((10, 2))
    best = Best(requirements({F16: whole, OTHER: whole})["requirements"])
    estimate = best.estimate(F16)
    assert estimate.value == 100
    assert estimate.low < 97


def test_one_long_passage_does_not_speak_for_all() -> None:
    """A thousand questions on one passage and nine on nine: they are no thousand and nine."""
    rng = np.random.default_rng(0)
    names = [f"p{at}" for at in range(10)]

    def of(rates: list[float]) -> dict:
        counts = [1000, *[1] * 9]
        sums = [float(rng.binomial(n, rate)) for n, rate in zip(counts, rates, strict=True)]
        return {"items": counts, "score": {"sums": sums, "squares": sum(sums)}}

    like = requirements(answers({F16: Truth(60, 60)}, 10))["requirements"][0]
    variants = [
        {
            **like["variants"][0],
            "model": model,
            "quant": "F16",
            "score": of([rate, *[0.6] * 9]),
            "reference": True,
        }
        for model, rate in (("m", 0.4), ("x", 0.5))
    ]
    best = Best([{**like, "clusters": names, "variants": variants}])
    estimate = best.estimate(F16)
    assert estimate.high - estimate.low > 20
    assert not best.told_apart([F16, OTHER])[0, 1]
