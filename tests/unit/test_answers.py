"""What an answer takes: tokens of a task at the speed and the joules of a cell."""

import made_records as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.quality.answers import Given, answered
from llmpi.quality.squad.kind import given_answers
from llmpi.summary.answers import answer_costs
from llmpi.summary.groups import by_class
from llmpi.summary.records import AnswerCost, ClassRow

asked = st.builds(
    Given,
    prompt_tokens=st.integers(1, 2000),
    thought_tokens=st.integers(0, 500),
    answer_tokens=st.integers(0, 500),
    right=st.sampled_from([True, False, None]),
    cluster=st.integers(0, 5),
    number=st.integers(0, 10**6),
)


def cost(told: list[Given], speed: ClassRow | None = None) -> AnswerCost:
    found = answered(told)
    assert found
    cell = speed or made.row(tg_tps=10)
    return answer_costs({"qa": found}, cell, cell, prompt_tokens=64)["qa"]


def metered(j_per_token: float) -> ClassRow:
    one = made.row(tg_tps=10)
    one["energy_tier"], one["pp_j_per_token"] = "metered", j_per_token / 10
    one["tg_j_per_token"], one["tg_uncertainty_j_per_token"] = j_per_token, 0.0
    one["pp_uncertainty_j_per_token"] = 0.0
    return one


def test_by_hand() -> None:
    """pp 90 and tg 10 tokens/s: 180 prompt tokens are 2 s, 30 new ones 3 s; one of two is right."""
    found = cost([Given(180, 10, 20, True, 0, 0), Given(90, 0, 20, False, 1, 1)])
    assert (found["answers"], found["answer_p50_s"], found["answer_p95_s"]) == (2, 3, 5)
    assert (found["thought_p95_tokens"], found["answer_p50_tokens"]) == (10, 20)
    assert found["s_per_right_answer"] == pytest.approx((5 + 3) / 1)
    assert found["answer_p50_fast_s"] == pytest.approx(90 / 100 + 20 / 12)
    assert found["answer_p50_slow_s"] == pytest.approx(90 / 80 + 20 / 9)
    assert (found["answer_p50_low_s"], found["answer_p95_high_s"]) == (None, None)
    assert found["j_per_answer"] is None


def test_what_was_not_asked_took_nothing() -> None:
    """A prompt that does not fit the context; a thought that does not end took all its time."""
    items = [made.item(number, 0, 1) for number in range(3)]
    items[0] |= {"error": "it does not fit", "new_tokens": 0}
    items[1] |= {"error": "its thought did not end", "new_tokens": 90, "thought_tokens": 90}
    found = answered(given_answers(items))
    assert found
    assert found.tokens.tolist() == [[100, 90, 0], [100, 0, 2]]


def test_a_token_takes_longer_behind_a_longer_context() -> None:
    """10 tokens/s behind 64 tokens, 5 behind 164: in the middle 0.15 s a token."""
    one = made.row(tg_tps=10)
    one["tg_at_depths_tps"] = [{"depth_tokens": 164, "tps": 5.0}]
    for prompt, per_token in ((109, 0.15), (1000, 0.2), (20, 0.1)):
        found = cost([Given(prompt, 0, 10, True, 0, 0)], one)
        assert found["answer_p50_s"] == pytest.approx(prompt / 90 + 10 * per_token)


def test_a_limit_that_other_questions_may_break_is_not_kept_to_for_sure() -> None:
    """Ranks 40 and 61 of 100, 90 and 100, are what the sign test gives; 71 show no end of a p95."""
    one = made.row(tg_tps=10)
    for rate in ("pp_min_tps", "pp_tps", "pp_max_tps"):
        one[rate] = 1e9  # type: ignore[literal-required]
    one["tg_min_tps"] = one["tg_max_tps"] = 10.0
    told = [Given(1, 0, 10 * number, True, number, number) for number in range(1, 101)]
    found = cost(told, one)
    ends = [found[f"answer_{key}_s"] for key in ("p50_low", "p50_high", "p95_low", "p95_high")]  # type: ignore[literal-required]
    assert ends == pytest.approx([40, 61, 90, 100], abs=0.01)
    few, enough = cost(told[:71], one), cost(told[:72], one)
    assert (few["answer_p95_high_s"], enough["answer_p95_high_s"]) == (None, pytest.approx(72))


def test_questions_of_a_passage_do_not_tell_as_much() -> None:
    """Ten passages with ten questions each, whose prompts are of one length."""
    apart = [Given(10 * (i // 10), 0, 1, True, i, i) for i in range(100)]
    together = [one._replace(cluster=one.number // 10) for one in apart]
    high, higher = cost(apart)["answer_p50_high_s"], cost(together)["answer_p50_high_s"]
    assert high and higher and higher > 1.1 * high


def test_the_joules_of_long_prompts_are_as_uncertain_as_the_meter() -> None:
    """A meter that may be 10 % off is so of the prompts, too; a prompt is most of the energy."""
    one = metered(2.0)
    one["tg_uncertainty_j_per_token"], one["pp_uncertainty_j_per_token"] = 0.2, 0.02
    told = [Given(500, 0, 2, True, i, i) for i in range(400)]
    found = cost(told, one)
    assert found["j_per_right_answer"] == pytest.approx(104)
    low, high = found["j_per_right_answer_low"], found["j_per_right_answer_high"]
    assert low and high and low < 0.81 * 104 and high > 1.19 * 104


def test_a_token_that_takes_longer_takes_more_joules() -> None:
    """Behind 164 tokens twice the seconds at the same power."""
    one = metered(2.0)
    one["tg_at_depths_tps"] = [{"depth_tokens": 164, "tps": 5.0}]
    found = cost([Given(1000, 0, 10, True, 0, 0)], one)
    assert found["j_per_answer"] == pytest.approx(1000 * 0.2 + 10 * 4.0)


def test_who_thinks_long_and_in_vain_is_told_with_both_spreads() -> None:
    """What a right answer takes, of questions drawn again and again, is inside 9 times in
    10 even where it is the long thoughts that are wrong, which the interval does not know."""
    rng = np.random.default_rng(5)

    def drawn(count: int) -> list[Given]:
        thoughts = rng.lognormal(5, 0.9, count).astype(int)
        right = rng.random(count) < 1 / (1 + np.exp((thoughts - 200) / 200))
        return [
            Given(90, int(thought), 5, bool(is_right), i, i)
            for i, (thought, is_right) in enumerate(zip(thoughts, right, strict=True))
        ]

    one = made.row(tg_tps=10)
    one["pp_min_tps"] = one["pp_max_tps"] = one["pp_tps"]
    one["tg_min_tps"] = one["tg_max_tps"] = one["tg_tps"]
    truth = cost(drawn(100_000), one)["s_per_right_answer"]
    assert truth
    found = [cost(drawn(80), one) for _ in range(200)]
    inside = [
        (one["s_per_right_answer_low"] or 0) <= truth <= (one["s_per_right_answer_high"] or np.inf)
        for one in found
    ]
    assert np.mean(inside) >= 0.9


def test_who_never_answers_is_not_cheap() -> None:
    """To abstain where there is no answer is no right answer, and costs none."""
    silent = [Given(90, 0, 1, None, i, i) for i in range(9)] + [Given(90, 0, 1, False, 9, 9)]
    assert cost(silent)["s_per_right_answer"] is None
    assert cost(silent, metered(2.0))["j_per_right_answer"] is None
    one_right = [*silent[:-1], Given(90, 0, 20, True, 9, 9)]
    assert cost(one_right)["s_per_right_answer"] == pytest.approx(3)


@given(st.lists(asked, min_size=1, max_size=60))
def test_what_holds_of_all(told: list[Given]) -> None:
    found = cost(told, metered(2.0))
    seconds = [one.prompt_tokens / 90 + (one[1] + one[2]) / 10 for one in told]
    joules = [one.prompt_tokens * 0.2 + (one[1] + one[2]) * 2.0 for one in told]
    assert found["answer_p50_fast_s"] <= found["answer_p50_s"] <= found["answer_p50_slow_s"]
    for part in ("p50", "p95"):
        low, high = found[f"answer_{part}_low_s"], found[f"answer_{part}_high_s"]  # type: ignore[literal-required]
        assert (low or 0) <= found[f"answer_{part}_s"] <= (high or np.inf)  # type: ignore[literal-required]
    assert found["answer_p50_s"] <= found["answer_p95_s"] <= max(seconds) + 1e-9
    assert np.mean([s <= found["answer_p50_s"] + 1e-9 for s in seconds]) >= 0.5
    assert found["j_per_answer"] == pytest.approx(np.mean(joules))
    right = sum(one.right is True for one in told)
    could = sum(j for j, one in zip(joules, told, strict=True) if one.right is not None)
    assert found["j_per_right_answer"] == (pytest.approx(could / right) if right else None)
    for key in ("s", "j"):
        low, high = found[f"{key}_per_right_answer_low"], found[f"{key}_per_right_answer_high"]  # type: ignore[literal-required]
        value = found[f"{key}_per_right_answer"]  # type: ignore[literal-required]
        assert value is None or (low or 0) <= value + 1e-9
        assert high is None or value is None or high >= value - 1e-9


def test_equal_boards_answer_as_one() -> None:
    told = [Given(90, 0, 20, True, 0, 0), Given(90, 0, 40, False, 1, 1)]
    slow, middle, fast = made.row("a", tg_tps=8), made.row("b", tg_tps=10), made.row("c", tg_tps=12)
    for one in (slow, middle, fast):
        one["answers"] = {"qa": cost(told, one)}
    [whole] = by_class([slow, middle, fast], {"pis": ["a", "b", "c"]})
    found = whole["answers"]["qa"]
    assert found["answer_p50_s"] == middle["answers"]["qa"]["answer_p50_s"]
    assert found["answer_p50_fast_s"] == fast["answers"]["qa"]["answer_p50_fast_s"]
    assert found["answer_p50_slow_s"] == slow["answers"]["qa"]["answer_p50_slow_s"]
    assert (found["answers"], found["answer_p95_tokens"]) == (2, 40)
    assert found["j_per_right_answer"] is None
