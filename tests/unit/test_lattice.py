"""Weights on the lattice of Q4_0 stay what they are; all others are quantized as ggml does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_gguf import tiny_model

from llmpi.gguf.contents import stored
from llmpi.gguf.lattice import fitted, tensors_on_lattice
from llmpi.gguf.quantize import quantize
from llmpi.gguf.quantizers import dequantized, quantized

BLOCK = 32
Array = np.ndarray


def as_bf16(values: Array) -> Array:
    """Rounded to BF16, to the nearest."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def on_lattice(seed: int, blocks: int, *, largest: int = 7) -> tuple[Array, Array]:
    """Scales [blocks, 1] that float16 holds, and whole steps [blocks, 32]; none uses -8."""
    draw = np.random.default_rng(seed)
    scales = (draw.uniform(0.001, 0.02, (blocks, 1)) * draw.choice([-1, 1], (blocks, 1))).astype(
        np.float16
    )
    steps = draw.integers(-largest, largest + 1, (blocks, BLOCK))
    return scales.astype(np.float32), steps.astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1), largest=st.integers(1, 7), bf16=st.booleans())
def test_steps_are_found_whatever_the_scale(seed: int, largest: int, bf16: bool) -> None:
    scales, steps = on_lattice(seed, 20, largest=largest)
    weights = as_bf16(scales * steps) if bf16 else (scales * steps).astype(np.float16)
    weights = weights.astype(np.float32)
    made, found = fitted(weights)
    assert found.all()
    back = dequantized(made, "Q4_0", BLOCK)
    np.testing.assert_allclose(back, weights, rtol=2**-7 if bf16 else 2**-10)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 10))
def test_what_was_quantized_once_comes_back_to_the_byte(seed: int, scale: float) -> None:
    """Our own -qat, and a published Q4_0: its float16 makes the same file."""
    weights = np.random.default_rng(seed).normal(0, scale, (20, BLOCK)).astype(np.float32)
    once = quantized(weights, "Q4_0")
    values = dequantized(once, "Q4_0", BLOCK)
    made, found = fitted(values)
    assert found.all()
    np.testing.assert_array_equal(made, once)


@given(seed=st.integers(0, 2**32 - 1))
def test_other_weights_lie_on_none(seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=(50, BLOCK)).astype(np.float32)
    assert not fitted(weights)[1].any()


def test_zeros_lie_on_every_lattice() -> None:
    made, found = fitted(np.zeros((2, BLOCK), np.float32))
    assert found.all()
    assert not dequantized(made, "Q4_0", BLOCK).any()


# --- files ----------------------------------------------------------------------------------------

START: Any = {"status": "ok", "sha256": "", "lineage": ["F32"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose matrices but the table of embeddings lie on the lattice, as BF16 has them."""
    path = tmp_path_factory.mktemp("lattice") / "qat.gguf"
    path.write_bytes(tiny_model(3))
    for at, (name, tensor) in enumerate(stored(path, edit=True).items()):
        if len(tensor.shape) > 1 and name.startswith("blk"):
            scales, steps = on_lattice(at, tensor.data.size // 4 // BLOCK)
            tensor.data[:] = as_bf16(scales * steps).reshape(-1).view(np.uint8)
    return path


def weights(path: Path, name: str) -> Array:
    tensor = stored(path)[name]
    rows = tensor.data.reshape(int(np.prod(tensor.shape[:-1])), -1)
    return dequantized(rows, tensor.kind, tensor.shape[-1])


def test_a_checkpoint_of_a_training_for_q4_0_keeps_its_weights(
    trained: Path, tmp_path: Path
) -> None:
    base, narrow = tmp_path / "F16.gguf", tmp_path / "Q4_0.gguf"
    wide = quantize(trained, START, base, "F16", threads=1)
    made = quantize(base, START, narrow, "Q4_0", threads=1)
    assert wide["status"] == made["status"] == "ok"
    of_blocks = [name for name, held in stored(narrow).items() if held.kind == "Q4_0"]
    kept = [name for name in of_blocks if name.startswith("blk")]
    assert kept
    assert wide["lattice_tensors"] == made["lattice_tensors"] == len(kept)
    for name in kept:
        before, after = weights(trained, name), weights(narrow, name)
        np.testing.assert_allclose(after, before, rtol=2**-7)
        naive = dequantized(quantized(before, "Q4_0"), "Q4_0", before.shape[1])
        assert np.abs(naive - before).max() > 5 * np.abs(after - before).max()


def test_other_files_are_the_engines_to_the_byte(tmp_path: Path) -> None:
    source, out = tmp_path / "F32.gguf", tmp_path / "Q4_0.gguf"
    source.write_bytes(tiny_model(4))
    made = quantize(source, START, out, "Q4_0", threads=1)
    assert made["status"] == "ok"
    assert made["lattice_tensors"] == 0
    narrow = {name: held for name, held in stored(out).items() if held.kind != "F32"}
    assert {held.kind for held in narrow.values()} == {"Q4_0", "Q8_0"}
    for name, held in narrow.items():
        assert (held.data == quantized(weights(source, name), held.kind).reshape(-1)).all()


def test_a_published_q4_0_made_f16_and_q4_0_again_has_its_values(tmp_path: Path) -> None:
    source, once = tmp_path / "F32.gguf", tmp_path / "once.gguf"
    source.write_bytes(tiny_model(5))
    base, twice = tmp_path / "F16.gguf", tmp_path / "twice.gguf"
    for before, after, quant in (
        (source, once, "Q4_0"),
        (once, base, "F16"),
        (base, twice, "Q4_0"),
    ):
        assert quantize(before, START, after, quant, threads=1)["status"] == "ok"
    assert tensors_on_lattice(base) > 0
    for name, tensor in stored(once).items():
        if tensor.kind == "Q4_0":
            assert (weights(once, name) == weights(twice, name)).all()
