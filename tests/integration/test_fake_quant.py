"""Our quantizers in torch against ggml's own, byte for byte. Here, not among the unit tests: each
process that collects those would load torch for it."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmpi.gguf import quantizers
from llmpi.train import fake_quant
from llmpi.train.fake_quant import IN_TORCH, TERNARY, fake_quantize, packed, shaped

COLUMNS = 512


def rows_of(kind: str, random: np.random.Generator) -> np.ndarray:
    shape = (3, COLUMNS)
    scale = 10.0 ** random.integers(-6, 4)
    match kind:
        case "normal":
            return random.normal(0, scale, shape)
        case "heavy-tailed":
            return random.standard_t(1.3, shape) * scale
        case "zeros":
            return np.zeros(shape) * random.choice([-1, 1], shape)
        case "denormal":
            return random.normal(0, 10.0 ** random.integers(-45, -36), shape)
        case "halves":  # everything lies between two codes, or ties for the largest
            values = random.integers(-254, 255, shape) / 2
            values[:, ::32] = random.choice([-127, 127, 8, -8], values[:, ::32].shape)
            return values
        case "ternary":
            return random.integers(-1, 2, shape) * scale
        case "outliers":
            values = random.normal(0, scale, shape) * random.integers(0, 2)
            values[:, random.integers(COLUMNS)] = 300 * scale
            return values
    raise AssertionError(kind)


# The largest, 594450, asks for a scale of Q4_0 beyond float16; a code 0 of it is read as no number.
BEYOND_FLOAT16 = rows_of("heavy-tailed", np.random.default_rng(80)).astype(np.float32)
KINDS = ("normal", "heavy-tailed", "zeros", "denormal", "halves", "ternary", "outliers")
matrices = st.builds(
    lambda kinds, seed: np.concatenate(
        [rows_of(kind, np.random.default_rng(seed)) for kind in kinds]
    ).astype(np.float32),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    st.integers(0, 2**32),
)


@pytest.mark.parametrize("kind", sorted(IN_TORCH))
@settings(deadline=None)
@given(weights=matrices)
def test_bytes_are_those_of_ggml(kind: str, weights: np.ndarray) -> None:
    assert np.array_equal(
        packed(torch.from_numpy(weights), kind).numpy(), quantizers.quantized(weights, kind)
    )


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "TQ1_0", "TQ2_0", "F16", "BF16", "Q5_1", "Q6_K"])
@settings(deadline=None, max_examples=30)
@given(weights=matrices)
@example(weights=BEYOND_FLOAT16)
def test_values_are_those_that_ggml_reads(kind: str, weights: np.ndarray) -> None:
    ours = torch.empty(weights.shape)
    fake_quantize(torch.from_numpy(weights), kind, ours)
    handed = shaped(torch.from_numpy(weights), kind).numpy()
    data = quantizers.quantized(handed, kind)
    theirs = quantizers.dequantized(data, kind, COLUMNS)
    assert np.array_equal(ours.numpy(), theirs, equal_nan=True)
    assert np.array_equal(packed(torch.from_numpy(handed), kind).numpy(), data)


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
def test_values_do_not_depend_on_the_pieces(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.randn(64, COLUMNS, generator=torch.Generator().manual_seed(0))
    whole, pieces = torch.empty_like(weights), torch.empty_like(weights)
    fake_quantize(weights, kind, whole)
    monkeypatch.setattr(fake_quant, "PIECE", 96)
    fake_quantize(weights, kind, pieces)
    assert torch.equal(whole, pieces)


@pytest.mark.parametrize("kind", sorted(TERNARY))
def test_ternary_weights_are_those_of_bitnet(kind: str) -> None:
    weights = torch.randn(8, COLUMNS, generator=torch.Generator().manual_seed(0)) * 0.02
    mean = weights.abs().mean().half().float()
    values = torch.empty_like(weights)
    fake_quantize(weights, kind, values)
    wanted = torch.where(weights.abs() > mean / 2, weights.sign() * mean, 0)
    assert torch.equal(values, wanted)
    assert 0.6 < (values != 0).float().mean() < 0.75  # of a normal distribution, 69 %
