"""All variants judged together: by hand, and what must not change a verdict."""

import math

import numpy as np
import pytest
from made_evidence import Truth, answers, requirements

from llmpi.decide.joint import DRAWS, FEWEST_CLUSTERS, Analysis, draws, seed_of
from llmpi.decide.records import Standing
from llmpi.quality.estimates import loss, student
from llmpi.quality.evidence import Evidence, LogRatio, Requirement, Requirements, Sequential
from llmpi.study.runs import Scored

F16, Q8, Q4, Q2 = (Scored("m", quant) for quant in ("F16", "Q8_0", "Q4_0", "Q2_K"))
SEEN = Truth(70, 70)


def standing(found: Requirements | list[Requirement], variant: Scored) -> Standing:
    asked = found if isinstance(found, list) else found["requirements"]
    known = Analysis(asked).standing(variant)
    assert known
    return known


def test_the_bounds_of_one_variant_by_hand() -> None:
    """One requirement and one variant: no family, so Student's level alone, as
    near as the draws tell it. 200 questions on 40
    passages, of which it loses 6 on passages of their own and gains none."""
    lost = [1.0] * 6 + [0.0] * 34
    asked = made(paired={Q8: (lost, [0.0] * 40)}, items=5)
    expected = loss(lost, 6, [0.0] * 40, 0, [5] * 40).bounds(student(0.95, 40))
    [one] = standing([asked], Q8)["requirements"]
    assert one["loss"] == pytest.approx(3.0)
    assert (one["low"], one["high"]) == pytest.approx([100 * b for b in expected], abs=0.06)
    assert (one["items"], one["clusters"], one["margin"]) == (200, 40, 5)


def made(
    paired: dict[Scored, tuple[list[float], list[float]]], items: int = 1, margin: float = 5.0
) -> Requirement:
    """
    Args:
        paired: per variant what it loses and gains on each passage.
    """
    passages = len(next(iter(paired.values()))[0])
    asked = [items] * passages
    score = {"items": asked, "score": {"sums": [0.5] * passages, "squares": passages / 4}}
    variants: list[Evidence] = [{**F16._asdict(), "score": score, "loss": None, "reference": True}]
    for variant, (lost, gained) in paired.items():
        variants.append(
            {
                **variant._asdict(),
                "score": score,
                "loss": {
                    "kind": "paired",
                    "items": asked,
                    "lost": {"sums": lost, "squares": sum(lost)},
                    "gained": {"sums": gained, "squares": sum(gained)},
                },
                "reference": False,
            }
        )
    return {
        "task": "qa",
        "metric": "has_ans_f1",
        "tag": None,
        "margin": margin,
        "kind": "loss",
        "cluster": "passage",
        "clusters": [f"p{at}" for at in range(passages)],
        "asked": items * passages,
        "variants": variants,
    }


def test_the_reference_loses_nothing_by_definition() -> None:
    found = standing(requirements(answers({F16: SEEN, Q8: SEEN}, 40)), F16)
    assert found["reference"]
    assert (found["verdict"], found["requirements"], found["more"]) == ("holds", [], [])


def test_zero_losses_are_shown_by_enough_passages_only() -> None:
    """Upper bound of none in n: about t^2 / n."""
    few, many = (answers({F16: SEEN, Q8: SEEN}, passages) for passages in (12, 60))
    assert standing(requirements(few), Q8)["verdict"] == "undecided"
    assert standing(requirements(few), Q8)["inside"]
    assert standing(requirements(many), Q8)["verdict"] == "holds"
    [more] = standing(requirements(few), Q8)["more"]
    assert 200 < more["items"] < 600


def test_a_small_loss_holds_a_large_one_fails_and_between_is_undecided() -> None:
    truths = {F16: SEEN, Q8: Truth(69, 70), Q4: Truth(66, 70), Q2: Truth(50, 70)}
    asked = requirements(answers(truths, 150))
    assert [standing(asked, v)["verdict"] for v in truths] == [
        "holds",
        "holds",
        "undecided",
        "fails",
    ]
    undecided = standing(asked, Q4)
    assert undecided["inside"]
    assert undecided["probability"] is not None
    assert 0.5 < undecided["probability"] < 1
    assert [one["verdict"] for one in undecided["requirements"]] == ["undecided", "holds"]


def test_one_side_is_enough_to_fail() -> None:
    """An abstainer gains on one side what it loses on the other."""
    found = standing(requirements(answers({F16: SEEN, Q2: Truth(0, 100)}, 40)), Q2)
    assert found["verdict"] == "fails"
    assert [one["verdict"] for one in found["requirements"]] == ["fails", "holds"]


def test_too_few_clusters_say_nothing() -> None:
    truths = {F16: Truth(100, 100), Q2: Truth(0, 0)}
    found = standing(requirements(answers(truths, FEWEST_CLUSTERS - 1)), Q2)
    assert found["verdict"] == "undecided"
    assert {one["why"] for one in found["requirements"]} == {"too few clusters"}
    assert standing(requirements(answers(truths, FEWEST_CLUSTERS)), Q2)["verdict"] == "fails"


def test_one_cluster_is_no_error() -> None:
    found = standing(requirements(answers({F16: SEEN, Q2: Truth(40, 40)}, 1)), Q2)
    assert found["verdict"] == "undecided"


def test_a_copy_of_a_candidate_costs_next_to_nothing() -> None:
    """Its error is that of the other, so the family is no larger."""
    truths = {F16: SEEN, Q8: Truth(69, 70)}
    answered = answers(truths, 150)
    alone = standing(requirements(answered), Q8)
    beside = standing(requirements({**answered, Q4: answered[Q8]}), Q8)
    for one, other in zip(alone["requirements"], beside["requirements"], strict=True):
        assert other["high"] == pytest.approx(one["high"], abs=0.05)


def test_what_holds_leaves_the_family() -> None:
    """Ten that lose nothing do not widen the bounds of the one that is left."""
    rng = np.random.default_rng(0)
    passages = 200
    sure = {
        Scored(f"m{at}", "Q8_0"): (
            rng.permutation([1.0] * 2 + [0.0] * (passages - 2)).tolist(),
            [0.0] * passages,
        )
        for at in range(10)
    }
    unsure = {Q4: ([1.0] * 20 + [0.0] * 180, [0.0] * passages)}
    alone = standing([made(unsure, items=2)], Q4)["requirements"][0]
    beside = Analysis([made({**sure, **unsure}, items=2)])
    assert all((known := beside.standing(v)) and known["verdict"] == "holds" for v in sure)
    left = beside.standing(Q4)
    assert left
    assert left["requirements"][0]["high"] == pytest.approx(alone["high"], abs=0.05)
    assert left["requirements"][0]["low"] < alone["low"]  # that it fails is said of all at once


def test_the_order_of_variants_and_the_names_of_models_change_nothing() -> None:
    truths = {F16: SEEN, Q8: Truth(69, 70), Q4: Truth(66, 70), Q2: Truth(60, 75)}
    answered = answers(truths, 60)
    renamed = {Scored("other", v.quant): found for v, found in reversed(answered.items())}
    for variant in truths:
        one = standing(requirements(answered), variant)
        other = standing(requirements(renamed), Scored("other", variant.quant))
        assert one["verdict"] == other["verdict"]
        for a, b in zip(one["requirements"], other["requirements"], strict=True):
            assert a["high"] == pytest.approx(b["high"], abs=1e-3)


def test_a_gate_is_a_requirement() -> None:
    """A least score: its upper bound of what is missing must stay below."""
    asked = requirements(answers({F16: Truth(80, 80), Q8: Truth(60, 80)}, 100))["requirements"]
    gate = {**asked[0], "kind": "gate", "margin": 70.0}
    assert standing([gate], F16)["verdict"] == "holds"
    assert standing([gate], Q8)["verdict"] == "fails"
    [missed] = standing([gate], Q8)["requirements"]
    assert (missed["loss"], missed["margin"]) == pytest.approx((-60, -70))
    both = standing([asked[0], gate], F16)
    assert both["reference"]
    assert [one["kind"] for one in both["requirements"]] == ["gate"]


def test_a_gate_without_a_score_is_not_passed() -> None:
    [asked, _] = requirements(answers({F16: SEEN}, 100))["requirements"]
    blind = {**asked["variants"][0], "score": None}
    found = standing([{**asked, "kind": "gate", "variants": [blind]}], F16)
    assert found["verdict"] == "undecided"
    assert found["requirements"][0]["why"] == "not compared"
    assert found["probability"] is None


@pytest.mark.parametrize("decision", ["holds", "fails", "undecided"])
def test_the_descents_verdict_stands(decision: str) -> None:
    [asked, _] = requirements(answers({F16: SEEN, Q8: SEEN}, 60))["requirements"]
    stopped: Sequential = {
        "kind": "sequential",
        "decision": decision,
        "items": 40,
        "clusters": 8,
        "loss_pct": 1.5,
        "low_pct": -4.0,
        "high_pct": 4.5,
    }
    variants = [one if one["reference"] else {**one, "loss": stopped} for one in asked["variants"]]
    found = standing([{**asked, "variants": variants}], Q8)
    assert found["verdict"] == decision
    [one] = found["requirements"]
    assert (one["loss"], one["high"], one["items"]) == (1.5, 4.5, 40)
    assert one["why"] == ("descent ended" if decision == "undecided" else None)


def test_perplexity_is_judged_as_a_ratio() -> None:
    """Each token .02 nats less likely: a perplexity 2.02 % higher; the margin of 10 % is .0953."""
    windows = 64
    rng = np.random.default_rng(0)
    nats = 0.02 * 100 + rng.normal(0, 0.2, windows)
    lost: LogRatio = {
        "kind": "log ratio",
        "items": [100] * windows,
        "nats": (nats - nats.mean() + 2).tolist(),
    }
    asked = made({Q8: ([0.0] * windows, [0.0] * windows)}, margin=10)
    [reference, variant] = asked["variants"]
    text: Requirement = {
        **asked,
        "metric": "perplexity",
        "cluster": "window",
        "variants": [reference, {**variant, "score": None, "loss": lost}],
    }
    found = standing([text], Q8)
    [one] = found["requirements"]
    assert one["loss"] == pytest.approx(100 * math.expm1(0.02))
    reach = student(0.95, windows) * nats.std(ddof=1) / math.sqrt(windows) / 100
    assert one["high"] == pytest.approx(100 * math.expm1(0.02 + reach), rel=1e-2)
    assert one["margin"] == pytest.approx(10)
    assert found["verdict"] == "holds"


def test_draws_have_the_correlation_of_the_residuals() -> None:
    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(50, 3))
    residuals[:, 2] = -residuals[:, 0]
    found = draws(residuals, seed_of(["a", "b"]))
    assert found.shape == (DRAWS, 3)
    assert np.std(found, axis=0) == pytest.approx(1, abs=0.04)
    length = np.linalg.norm(residuals, axis=0)
    expected = residuals[:, 0] @ residuals[:, 1] / length[0] / length[1]
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(expected, abs=0.05)
    assert found[:, 2] == pytest.approx(-found[:, 0], abs=1e-5)


def test_draws_depend_on_the_clusters_alone() -> None:
    assert seed_of(["a", "b"]) == seed_of(["a", "b"])
    assert seed_of(["a", "b"]) != seed_of(["b", "a"])
    residuals = np.random.default_rng(0).normal(size=(20, 2))
    one, other = draws(residuals, seed_of(["a"])), draws(residuals[:, :1], seed_of(["a"]))
    assert one[:, 0] == pytest.approx(other[:, 0], abs=1e-5)


def test_where_nothing_varies_one_error_is_shared() -> None:
    found = draws(np.zeros((20, 2)), seed_of(["a"]))
    assert np.array_equal(found[:, 0], found[:, 1])
    assert np.std(found[:, 0]) == pytest.approx(1, abs=0.04)


def test_nothing_is_known_of_who_was_not_asked() -> None:
    asked = requirements(answers({F16: SEEN}, 20))["requirements"]
    assert Analysis(asked).standing(Q8) is None


def test_less_confidence_needs_fewer_questions() -> None:
    asked = requirements(answers({F16: SEEN, Q8: Truth(67, 67)}, 20))["requirements"]
    [most], [least] = (
        known["more"] for c in (0.95, 0.8) if (known := Analysis(asked, c).standing(Q8))
    )
    assert least["items"] < most["items"]
