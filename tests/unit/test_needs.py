"""What jobs ask for: more for more, and enough for what was measured."""

from hypothesis import given
from hypothesis import strategies as st

from llmpi import needs

GB = 1024**3
SIZES = st.integers(0, 200 * GB)


@given(SIZES, SIZES, st.integers(0, 200_000))
def test_a_larger_model_never_asks_for_less(one: int, other: int, context: int) -> None:
    small, large = sorted((one, other))
    for asked in (needs.quantizing_mb, needs.quantizing_minutes, needs.training_mb):
        assert asked(small) <= asked(large)
    assert needs.scoring_mb(small, context) <= needs.scoring_mb(large, context)
    assert needs.scoring_mb(large) <= needs.scoring_mb(large, context)


def test_an_8b_model_finds_room() -> None:
    """Llama-3.1-8B: 16 GB at F16, 8.03e9 parameters, 1 GB of keys and values for 8192 tokens."""
    assert needs.scoring_mb(16 * GB, 8192) > 2 * 16 * 1024 + 1024
    assert needs.quantizing_mb(16 * GB) > 16 * 1024 + 2100, "its embedding, unpacked: 2.1 GB"
    # Twelve times the F16: weights, gradients, seen weights, teacher, two moments in float32.
    assert needs.training_mb(16 * GB) > 12 * 16 * 1024


def test_a_thousand_questions_on_two_cores() -> None:
    """Measured: 5.5 questions per second with 135M parameters."""
    measured_s = 1000 / 5.5 * 8.03e9 / 1.345e8
    assert needs.scoring_minutes(8_030_000_000, 1000 * 182) > measured_s / 60


def test_nothing_known_is_half_an_hour() -> None:
    assert needs.scoring_minutes(0, 1e6) == needs.training_minutes(0, 1e6) == 30
