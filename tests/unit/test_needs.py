"""What jobs ask for: more for more, and enough for what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi import needs

GB = 1024**3
READ, SCORED = needs.READ_TEXT_MB, needs.SCORED_TEXT_MB
SIZES = st.integers(0, 200 * GB)
PARAMETERS, F16, Q4_0 = 1_235_814_400, 2_471_645_184, 737_000_000
"""Llama-3.2-1B's shape; sizes without the vocabulary's texts."""


@given(SIZES, SIZES, st.integers(0, 200_000))
def test_a_larger_model_never_asks_for_less(one: int, other: int, context: int) -> None:
    small, large = sorted((one, other))
    for asked in (
        *(needs.converting_mb, needs.quantizing_mb, needs.quantizing_minutes, needs.training_mb),
        lambda size: needs.scoring_mb(size, size // 2, context_tokens=context),
        lambda size: needs.rounding_mb(size, 128),
        lambda size: needs.block_training_mb(size, 92_160),
    ):
        assert asked(small) <= asked(large)
    assert needs.scoring_mb(large, large) <= needs.scoring_mb(large, large, context_tokens=context)


@pytest.mark.parametrize(
    ("peak_mb", "asked_mib"),
    [
        (2163, needs.converting_mb(F16)),
        (1804, needs.quantizing_mb(F16)),
        (2989, needs.scoring_mb(F16, PARAMETERS, repacked=False, text_mb=READ)),
        (3796, needs.scoring_mb(F16, PARAMETERS, repacked=False, text_mb=SCORED)),
        (2112, needs.scoring_mb(Q4_0, PARAMETERS, text_mb=SCORED)),
        (3031, needs.scoring_mb(F16, PARAMETERS, repacked=False, context_tokens=4096)),
        (1588, needs.scoring_mb(Q4_0, PARAMETERS, context_tokens=4096)),
        (27_000, needs.training_mb(F16)),
    ],
)
def test_what_a_1b_was_seen_to_take(peak_mb: int, asked_mib: int) -> None:
    assert 1 <= asked_mib * 1.048576 / peak_mb < 1.4


def test_an_8b_model_finds_room() -> None:
    """Llama-3.1-8B: 16 GB at F16, 8.03e9 parameters, 1 GB of keys and values for 8192 tokens."""
    parameters = 8_030_000_000
    assert needs.scoring_mb(5 * GB, parameters, context_tokens=8192) > 2 * 5 * 1024 + 1024
    assert needs.quantizing_mb(16 * GB) > 300 + 2100, "its embedding, unpacked: 2.1 GB"
    assert needs.training_mb(16 * GB) > 22 * parameters / 2**20
    block, width = 218e6, 4096
    states = 2 * 4 * 128 * needs.ROUNDING_WINDOW_TOKENS * width
    assert needs.rounding_mb(16 * GB, 128) > (27 * block + states) / 2**20


def test_blocks_are_trained_in_what_a_workstation_has() -> None:
    """Default settings: 90 steps of 1024 tokens."""
    assert needs.MB * needs.block_training_mb(F16, 92_160) < 6e9
    assert needs.MB * needs.block_training_mb(2 * 8_030_000_000, 92_160) < 24e9
    block, width = 218e6, 4096
    assert needs.block_training_mb(16 * GB, 92_160) > (30 * block + 8 * 92_160 * width) / 2**20


@given(st.integers(1, 200 * GB), st.integers(0, 400 * GB))
def test_a_model_is_trained_by_block_where_it_does_not_fit_as_a_whole(f16: int, free: int) -> None:
    def chosen(asked: bool | None, *, distill: bool = True, free_bytes: int | None = free) -> bool:
        return needs.trains_by_block(f16, distill=distill, asked=asked, free_bytes=free_bytes)

    assert chosen(None) is (free < needs.MB * needs.training_mb(f16))
    assert chosen(True) and not chosen(False)
    assert not chosen(None, distill=False) and not chosen(None, free_bytes=None)


def test_a_thousand_questions_on_two_cores() -> None:
    """Measured: 5.5 questions per second with 135M parameters."""
    measured_s = 1000 / 5.5 * 8.03e9 / 1.345e8
    assert needs.scoring_minutes(8_030_000_000, 1000 * 182) > measured_s / 60


def test_nothing_known_is_half_an_hour() -> None:
    assert needs.scoring_minutes(0, 1e6) == needs.training_minutes(0, 1e6) == 30
