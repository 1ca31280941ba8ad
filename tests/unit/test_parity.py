"""Parity: what is kept of a prediction, and what two of them say of their divergence."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.measure.parity import SINGLE_TOKENS, TEXT, most_likely, pieces
from llmpi.engine.llama import EngineError
from llmpi.quality.agreement import KL_AT_MOST_NATS
from llmpi.quality.parity import compare, lumped_kl
from llmpi.records import failed

VOCAB = 12
LOGITS = st.lists(st.floats(-15, 15), min_size=VOCAB, max_size=VOCAB).map(np.array)
HEADS = st.integers(1, VOCAB - 1)


def full_kl(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    """By the definition, over the whole vocabulary."""
    p = np.exp(p_logits) / np.exp(p_logits).sum()
    q = np.exp(q_logits) / np.exp(q_logits).sum()
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


# --- what is kept ---------------------------------------------------------------------------------


def test_head_and_tail_of_a_distribution_written_out() -> None:
    kept = most_likely(np.log([1, 16, 3, 8, 4]).astype(np.float32), 3)
    assert kept["tokens"] == [1, 3, 4]
    assert kept["logprobs"] == pytest.approx([math.log(n / 32) for n in (16, 8, 4)], rel=1e-5)
    assert kept["rest_logprob"] == pytest.approx(math.log(4 / 32), rel=1e-5)


def test_what_is_no_number_is_an_error() -> None:
    with pytest.raises(EngineError, match="no numbers"):
        most_likely(np.array([0, np.nan, 1, 2], np.float32), 2)


def test_the_text_is_decoded_in_batches_then_token_by_token() -> None:
    tokens = range(64 + 20 + SINGLE_TOKENS)
    parts = [list(part) for part in pieces(tokens)]
    assert [len(part) for part in parts] == [64, 20, *[1] * SINGLE_TOKENS]
    assert [token for part in parts for token in part] == list(tokens)


def test_the_text_is_long_enough_for_any_vocabulary() -> None:
    assert len(TEXT.split()) > 64 * 3 + SINGLE_TOKENS


# --- the divergence -------------------------------------------------------------------------------


@given(LOGITS, LOGITS, HEADS)
def test_lumped_divergence_is_a_lower_bound(p: np.ndarray, q: np.ndarray, head: int) -> None:
    lumped = lumped_kl(most_likely(p, head), most_likely(q, head))
    exact = full_kl(p, q)
    assert -1e-6 < lumped < exact + 1e-4 * (1 + exact)


@given(LOGITS, LOGITS)
def test_with_nothing_lumped_it_is_the_divergence(p: np.ndarray, q: np.ndarray) -> None:
    lumped = lumped_kl(most_likely(p, VOCAB - 1), most_likely(q, VOCAB - 1))
    where_both = most_likely(p, VOCAB - 1)["tokens"], most_likely(q, VOCAB - 1)["tokens"]
    if set(where_both[0]) == set(where_both[1]):
        assert lumped == pytest.approx(full_kl(p, q), rel=1e-3, abs=1e-6)


@given(LOGITS, HEADS)
def test_identical_predictions_do_not_diverge(p: np.ndarray, head: int) -> None:
    kept = most_likely(p, head)
    assert lumped_kl(kept, kept) == pytest.approx(0, abs=1e-12)


def test_heads_without_a_common_token_diverge() -> None:
    """All in one lump they would be the same: P's head is known to be in Q's tail."""
    p = most_likely(np.array([9.0, 8, 0, 0, 0, 0]), 2)
    q = most_likely(np.array([0.0, 0, 0, 0, 8, 9]), 2)
    assert (
        5 < lumped_kl(p, q) < full_kl(np.array([9.0, 8, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 8, 9]))
    )


# --- the verdict ----------------------------------------------------------------------------------


def record(logits: np.ndarray, **more: Any) -> dict[str, Any]:
    """Predictions with these logits, shape (positions, vocabulary), as they come from a file."""
    kept = {
        "status": "ok",
        "tokens": list(range(len(logits))),
        "tokens_sha256": "abc",
        "gguf_sha256": "def",
        "positions": [most_likely(row, 5) for row in logits],
        "settings": {},
        "engine": {},
        "machine": {},
    }
    return json.loads(json.dumps({**kept, **more}))


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (100, 50)).astype(np.float32)


def test_identical_records_agree(logits: np.ndarray) -> None:
    verdict = compare(record(logits), record(logits))
    assert (verdict["agrees"], verdict["reason"], verdict["top1_pct"]) == (True, None, 100)
    assert verdict["kl_nats"] == verdict["kl_max_nats"] == pytest.approx(0, abs=1e-12)
    assert len(verdict["positions"]) == 100


def test_rounding_agrees(logits: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0, 0.03, logits.shape)
    verdict = compare(record(logits), record(logits + noise))
    assert verdict["agrees"]
    assert 0 < verdict["kl_nats"] < KL_AT_MOST_NATS


def test_another_model_is_named_so(logits: np.ndarray) -> None:
    verdict = compare(record(logits), record(logits[:, ::-1]))
    assert not verdict["agrees"]
    assert "KL divergence" in verdict["reason"]
    assert "top-1 agreement" in verdict["reason"]


def test_a_fault_of_generation_alone_does_not_hide(logits: np.ndarray) -> None:
    wrong = logits.copy()
    wrong[-SINGLE_TOKENS:] += np.random.default_rng(1).normal(0, 0.3, wrong[-SINGLE_TOKENS:].shape)
    verdict = compare(record(logits), record(wrong))
    assert verdict["kl_nats"] < KL_AT_MOST_NATS < verdict["kl_single_nats"]
    assert not verdict["agrees"]


def test_other_tokens_are_not_compared(logits: np.ndarray) -> None:
    verdict = compare(record(logits), record(logits, tokens=[7] * 100))
    assert not verdict["agrees"]
    assert "other tokens of the same text" in verdict["reason"]


def test_an_engine_that_died_is_passed_on(logits: np.ndarray) -> None:
    verdict = compare(record(logits), failed("parity", "the engine died of SIGILL"))
    assert (verdict["status"], verdict["stage"]) == ("failed", "parity")
    assert verdict["reason"] == "on the device: the engine died of SIGILL"
