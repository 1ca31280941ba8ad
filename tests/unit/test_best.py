"""Which variants may be the best: the harmonic mean, and Hsu's comparison with the best."""

import numpy as np
import pytest
from made_evidence import Answers, Truth, answers, requirements

from llmpi.decide.best import Best
from llmpi.study.runs import Scored

F16, Q8, Q4, Q2 = (Scored("m", quant) for quant in ("F16", "Q8_0", "Q4_0", "Q2_K"))


def best(answered: dict[Scored, Answers], margin: float = 5.0) -> Best:
    return Best(requirements(answered, margin=margin)["requirements"])


def apart(found: Best, one: Scored, other: Scored) -> bool:
    return bool(found.told_apart([one, other])[0, 1])


def test_quality_is_the_harmonic_mean() -> None:
    found = best(answers({F16: Truth(80, 40), Q8: Truth(60, 60)}, 40))
    estimate = found.estimate(F16)
    assert estimate
    assert estimate.value == pytest.approx(2 / (1 / 80 + 1 / 40))
    assert found.estimate(Q4) is None


@pytest.mark.parametrize("constant", [Truth(0, 100), Truth(100, 0), Truth(0, 0)])
def test_of_who_always_says_the_same_it_is_none(constant: Truth) -> None:
    found = best(answers({F16: Truth(60, 60), Q2: constant}, 60))
    estimate = found.estimate(Q2)
    assert estimate
    assert estimate.value == 0
    assert found.may_be_best([F16, Q2]) == [F16]
    assert apart(found, F16, Q2)


def test_its_interval_has_the_delta_methods_width() -> None:
    """All spread comes from the passages: as one that has an answer goes, so goes the other."""
    rng = np.random.default_rng(0)
    found = best({F16: np.repeat(rng.random((80, 1)), 10, axis=1).round()})
    estimate = found.estimate(F16)
    assert estimate
    assert estimate.low is not None
    rate = estimate.value / 100
    between, usual = rate * (1 - rate) / 79, 1.8 * rate * (1 - rate) / 400
    usual *= (1 / 2) ** 2 * 2  # two metrics, each with a slope of 1/2
    moderated = (79 * between + 10 * usual) / 89
    assert estimate.value - estimate.low == pytest.approx(
        100 * 1.99045 * np.sqrt(moderated), rel=1e-3
    )


def test_one_passage_shows_no_spread() -> None:
    estimate = best(answers({F16: Truth(60, 60)}, 1)).estimate(F16)
    assert estimate
    assert (estimate.low, estimate.high) == (None, None)


def test_who_is_near_the_best_and_who_may_be_it() -> None:
    truths = {F16: Truth(70, 70), Q8: Truth(69, 70), Q4: Truth(66, 66), Q2: Truth(50, 50)}
    found = best(answers(truths, 150))
    assert found.within_margin(truths) == [F16, Q8]
    assert Q2 not in found.may_be_best(truths)
    assert found.may_be_best(truths)[0] == F16
    assert apart(found, F16, Q2)
    assert not apart(found, Q8, Q8)


def test_a_copy_of_the_best_is_as_near_as_it() -> None:
    answered = answers({F16: Truth(70, 70)}, 40)
    found = best({**answered, Q8: answered[F16]})
    assert set(found.within_margin([F16, Q8])) == {F16, Q8}
    assert set(found.may_be_best([F16, Q8])) == {F16, Q8}
    assert not apart(found, F16, Q8)


def test_the_order_of_variants_changes_nothing() -> None:
    truths = {F16: Truth(70, 70), Q8: Truth(69, 70), Q4: Truth(66, 66), Q2: Truth(50, 50)}
    answered = answers(truths, 80)
    one, other = best(answered), best(dict(reversed(answered.items())))
    assert one.within_margin(truths) == other.within_margin(truths)
    assert one.may_be_best(truths) == other.may_be_best(truths)
    some = [*truths]
    assert np.array_equal(one.told_apart(some), other.told_apart(some))


def test_of_few_passages_only_the_first_is_near_and_all_may_be_it() -> None:
    truths = {F16: Truth(100, 100), Q2: Truth(20, 20)}
    found = best(answers(truths, 9))
    assert found.within_margin(truths) == [F16]
    assert found.may_be_best(truths) == [F16, Q2]
    assert not apart(found, F16, Q2)


def test_of_none_nobody_is_near() -> None:
    found = Best([])
    assert found.within_margin([F16]) == found.may_be_best([F16]) == []


def test_many_variants_are_bounded_without_draws() -> None:
    """Above so many pairs by Bonferroni's inequality, which is a little wider."""
    truths = {Scored(f"m{at}", "F16"): Truth(80 - at / 2, 80 - at / 2) for at in range(80)}
    found = best(answers(truths, 60))
    near = found.within_margin(truths)
    assert near[0] == Scored("m0", "F16")
    assert {*near, *found.may_be_best(truths)} < set(truths)
    assert len(near) > 1
