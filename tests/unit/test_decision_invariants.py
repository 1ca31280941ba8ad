"""What holds of every decision, on random studies.

Where the claim is "a worse one", worse means: not shown to lose no more than the margins. It cannot
mean a smaller estimate, as a preference for speed is there to take what loses a little, and as a
further candidate that may be the best narrows who is shown to be near it.
"""

from collections.abc import Mapping

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_decision import decided, first, picked, variant_of, verdicts
from made_evidence import Answers, Truth, answers, requirements

from llmpi.decide.records import Candidate, Choice
from llmpi.study.runs import Scored

WIDTHS = ("F16", "Q8_0", "Q6_K", "Q4_0", "Q2_K")
REFERENCE = Scored("m", "F16")
Answered = dict[Scored, Answers]


def drawn(
    seed: int, passages: int, losses: list[int], rates: tuple[int, int], noise: int = 4
) -> Answered:
    """Variants of one model: what each gets wrong beside the reference, and what it gets right.

    Args:
        losses: per cent of the right answers.
        noise: per cent of the answers that go astray both ways.
    """
    rng = np.random.default_rng(seed)
    rate = np.repeat(np.array(rates) / 100, 5)
    hard = rng.beta(4, 4, (passages, 1)) - 0.5
    right = rng.random((passages, 10)) < np.clip(rate + hard, 0, 1)
    found = {REFERENCE: right.astype(float)}
    for quant, loss in zip(WIDTHS[1:], losses, strict=False):
        u = rng.random(right.shape)
        kept = np.where(right, u >= (loss + noise) / 100, u < noise / 100)
        found[Scored("m", quant)] = kept.astype(float)
    return found


rates = st.tuples(st.integers(30, 95), st.integers(30, 95))
studies = st.builds(
    drawn,
    st.integers(0, 10_000),
    st.sampled_from([5, 10, 20, 60, 150]),
    st.lists(st.sampled_from([0, 0, 1, 3, 6, 12, 30]), min_size=1, max_size=4),
    rates,
    st.sampled_from([0, 1, 4]),
)
limits = st.fixed_dictionaries(
    {"prefer": st.sampled_from(["quality", "speed", "memory"])},
    optional={"tps_at_least": st.sampled_from([13, 15, 20])},
)
Limits = Mapping[str, object]


def holding(choice: Choice) -> set[Scored]:
    return {variant for variant, verdict in verdicts(choice).items() if verdict == "holds"}


@settings(max_examples=60)
@given(studies, limits)
def test_a_shown_pick_holds_and_none_that_fails_is_ever_picked(
    study: Answered, asked: Limits
) -> None:
    """Where any that fits holds, the pick does; a provisional one may be undecided."""
    found = decided(study, **asked)
    shown = verdicts(found)
    for decision in found["decisions"]:
        able = {variant_of(one) for one in decision["able"]}
        pick = variant_of(decision["pick"])
        assert pick is None or shown[pick] != "fails"
        assert able <= holding(found)
        if decision["standing"] == "shown" or able:
            assert pick in able
        inside = {variant_of(c["id"]) for c in found["candidates"] if _inside(c)}
        assert able <= inside


def _inside(candidate: Candidate) -> bool:
    standing = candidate["standing"]
    return standing is not None and standing["inside"]


@settings(max_examples=30)
@given(studies, limits, st.data())
def test_more_candidates_never_make_a_worse_one_win(
    study: Answered, asked: Limits, data: st.DataObject
) -> None:
    """A copy of one, one that another beats in all, and another model: what holds beside them held
    without them, so a pick that was not shown to hold before is one of the new."""
    before = decided(study, **asked)
    some = data.draw(st.sampled_from(sorted(study)))
    copy = {Scored("m", "Q3_K_S"): study[some]}
    beaten = {Scored("m", "Q3_K_M"): study[some] * (np.arange(10) % 5 > 0)}
    other = {Scored("n", v.quant): found[:, ::-1].copy() for v, found in study.items()}
    for new in (copy, beaten, other, {**copy, **beaten, **other}):
        after = decided({**study, **new}, **asked)
        assert holding(after) <= holding(before) | {*new}
        fails = {v for v, verdict in verdicts(after).items() if verdict == "fails"}
        assert fails <= {v for v, verdict in verdicts(before).items() if verdict == "fails"} | {
            *new
        }
        if first(after)["standing"] == "shown":
            assert picked(after) in holding(before) | {*new}


@settings(max_examples=40)
@given(studies, limits)
def test_more_comparisons_never_make_a_worse_one_win(study: Answered, asked: Limits) -> None:
    """A second task, whose answers are the first one's in another order."""
    before = decided(study, **asked)
    again = {v: found[:, [4, 3, 2, 1, 0, 9, 8, 7, 6, 5]] for v, found in study.items()}
    second = requirements(again, task="second")["requirements"]
    both = requirements(study)
    both = {**both, "requirements": [*both["requirements"], *second]}
    assert holding(decided(study, asked=both, **asked)) <= holding(before)


@settings(max_examples=40)
@given(studies, limits)
def test_more_of_the_same_kind_never_unsettles_what_was_shown(
    study: Answered, asked: Limits
) -> None:
    """Every passage once more: the estimates stay, the bounds close in on them. What held holds,
    but for what the draws of other passages move a bound that lies on its margin; so the pick is
    one that is inside all margins, before and after."""
    before = decided(study, **asked)
    twice = {v: np.vstack([found, found]) for v, found in study.items()}
    after = decided(twice, **asked)
    slack = 0.2
    for one, other in zip(before["candidates"], after["candidates"], strict=True):
        assert one["standing"]
        assert other["standing"]
        for old, new in zip(
            one["standing"]["requirements"], other["standing"]["requirements"], strict=True
        ):
            assert old["loss"] == new["loss"]
            if old["why"] is None:
                assert new["high"] <= old["high"] + slack
                assert new["low"] >= old["low"] - slack
    if first(before)["standing"] == "shown":
        pick = picked(after)
        assert pick is not None
        assert verdicts(after)[pick] == "holds"


@settings(max_examples=40)
@given(studies, limits, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_names_of_models_and_devices_change_nothing(
    study: Answered, asked: Limits, random: object
) -> None:
    one = decided(study, devices=("a", "b"), **asked)
    order = list(study)
    random.shuffle(order)  # type: ignore[attr-defined]
    renamed = {Scored("z", v.quant): study[v] for v in order}
    other = decided(renamed, devices=("y", "x"), **asked)
    assert _plain(one, {}) == _plain(other, {"z": "m", "y": "a", "x": "b"})


def _plain(choice: Choice, names: Mapping[str, str]) -> object:
    """Picks, standings and who is able of each decision, and every verdict."""

    def named(candidate: str | None) -> str | None:
        return candidate and "/".join(names.get(part, part) for part in candidate.split("/"))

    decisions = {
        names.get(d["where"], d["where"]): (
            named(d["pick"]),
            d["standing"],
            named(d["smaller"]["id"]) if d["smaller"] else None,
            sorted(map(str, map(named, d["able"]))),
            sorted(map(str, map(named, d["near_best"]))),
            sorted(map(str, map(named, d["may_be_best"]))),
            {aim: named(pick) for aim, pick in d["by_preference"].items()},
        )
        for d in choice["decisions"]
    }
    return decisions, {v.quant: verdict for v, verdict in verdicts(choice).items()}


@settings(max_examples=60)
@given(studies, limits, st.sampled_from([Truth(0, 100), Truth(100, 0), Truth(0, 0)]))
def test_who_abstains_babbles_or_always_says_the_same_is_never_picked(
    study: Answered, asked: Limits, constant: Truth
) -> None:
    """Beside a reference that gets some of both right; with too few passages nothing is picked."""
    reference = study[REFERENCE]
    assume(reference[:, :5].mean() > 0.3 and reference[:, 5:].mean() > 0.3)
    useless = Scored("m", "Q3_K_S")
    [same] = answers({useless: constant}, len(reference)).values()
    found = decided({**study, useless: same}, **asked)
    assert useless not in {variant_of(d["pick"]) for d in found["decisions"]}
    assert useless not in {variant_of(one) for d in found["decisions"] for one in d["able"]}
