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
    return one


def test_by_hand() -> None:
    """pp 90 and tg 10 tokens/s: 180 prompt tokens are 2 s, 30 new ones 3 s; one of two is right."""
    found = cost([Given(180, 10, 20, True, 0, 0), Given(90, 0, 20, False, 1, 1)])
    assert (found["answers"], found["answer_p50_s"], found["answer_p95_s"]) == (2, 3, 5)
    assert (found["thought_p95_tokens"], found["answer_p50_tokens"]) == (10, 20)
    assert found["s_per_right_answer"] == pytest.approx((5 + 3) / 1)
    assert found["answer_p50_low_s"] == pytest.approx(90 / 100 + 20 / 12)
    assert found["answer_p50_high_s"] == pytest.approx(90 / 80 + 20 / 9)
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
    assert found["answer_p50_low_s"] <= found["answer_p50_s"] <= found["answer_p50_high_s"]
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
    assert found["answer_p50_low_s"] == fast["answers"]["qa"]["answer_p50_low_s"]
    assert found["answer_p50_high_s"] == slow["answers"]["qa"]["answer_p50_high_s"]
    assert (found["answers"], found["answer_p95_tokens"]) == (2, 40)
    assert found["j_per_right_answer"] is None
