"""A slow cell keeps to the time that it has."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.measure.budget import (
    LEAST_TOKENS,
    SHARE,
    Effort,
    Pace,
    affordable,
    fitted,
    needed_s,
    pace_of,
    told,
    took_s,
)
from llmpi.study.file import load_study

ASKED = Effort(output_tokens=50, repetitions=10, warmup=1, warmup_limit=4)


def test_what_fits_is_done() -> None:
    assert fitted(ASKED, [Pace(1.0, 0.1)], 3600) == (ASKED, None)


@pytest.mark.parametrize(
    ("of_fifty_s", "repetitions", "tokens"), [(347, 7, 50), (450, 5, 50), (1605, 5, 13)]
)
def test_the_papers_overflowing_rows_fit_as_shipped(
    of_fifty_s: float, repetitions: int, tokens: int
) -> None:
    """A repetition of Phi-3 and Llama 8B in F16 and of Llama 8B in Q8_0 on a Pi 5 of 8 GB: its
    prompt is read through once, as a token is. Loading takes a few tokens' time."""
    chat = load_study(Path("config/llmpi.yaml")).workloads["chat"]
    asked = Effort(chat.output_tokens, chat.repetitions, chat.warmup, chat.warmup_limit)
    token_s = of_fifty_s / 50
    left_s = SHARE * (chat.timeout_s - 4 * token_s - 15)
    effort, shortened = fitted(asked, [Pace(token_s, token_s)], left_s)
    assert (effort.repetitions, effort.output_tokens) == (repetitions, tokens)
    assert shortened and shortened["needed_s"] > shortened["had_s"] == left_s
    assert needed_s(effort, [Pace(token_s, token_s)]) <= left_s


def test_fewer_than_an_interval_takes_and_at_least_one() -> None:
    assert affordable(ASKED, [Pace(10, 10)], 400).repetitions == 3
    assert affordable(ASKED, [Pace(10, 10)], 1) == Effort(LEAST_TOKENS, 1, 1, 1)
    assert affordable(Effort(4, 2, 0, 4), [Pace(10, 10)], 1) == Effort(4, 1, 0, 0)


def test_what_all_share_is_computed_for_every_repetition() -> None:
    begun = {"ttft_s": 2.0, "itl_s": [0.5, 0.5]}
    assert pace_of(begun) == Pace(2.0, 0.5) and took_s(begun) == 3
    shared = begun | {"system_s": 100.0}
    assert pace_of(shared) == Pace(102.0, 0.5) and took_s(shared) == 103


def test_it_is_said_in_words() -> None:
    _, shortened = fitted(ASKED, [Pace(32, 32)], 2800)
    assert shortened
    said = "would take 22,848 s where there are 2,800: 5 repetitions of 13 tokens"
    assert told(shortened) == f"all that is asked for {said}"


PACES = st.builds(Pace, st.floats(0.001, 100), st.floats(0.001, 100))
EFFORTS = st.builds(
    Effort, st.integers(1, 500), st.integers(1, 100), st.integers(0, 9), st.integers(0, 9)
)


@given(EFFORTS, st.lists(PACES, min_size=1, max_size=4), st.floats(-10, 1e6))
def test_it_fits_or_is_the_least(asked: Effort, paces: list[Pace], seconds: float) -> None:
    found = affordable(asked, paces, seconds)
    assert 1 <= found.repetitions <= asked.repetitions
    assert min(LEAST_TOKENS, asked.output_tokens) <= found.output_tokens <= asked.output_tokens
    assert found.warmup <= asked.warmup
    least = found.repetitions == 1 and found.output_tokens == min(LEAST_TOKENS, asked.output_tokens)
    assert needed_s(found, paces) <= seconds + 1e-6 or least


@given(EFFORTS, PACES, st.floats(0, 1e5), st.floats(0, 1e5))
def test_more_time_is_never_less_effort(asked: Effort, pace: Pace, a: float, b: float) -> None:
    short, long = (affordable(asked, [pace], seconds) for seconds in sorted((a, b)))
    assert (short.repetitions, short.output_tokens) <= (long.repetitions, long.output_tokens)
