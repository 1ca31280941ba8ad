"""The Llama family as llama.cpp computes it (src/models/llama.cpp), on weights by their GGUF names.

Weights are used in llama.cpp's own layout, rotary pairs next to each other, so that a file's
tensors go in and out as they are.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 its usual name
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from llmpi.errors import CellError
from llmpi.gguf.contents import Fields

ARCHITECTURES = ("llama",)
OF_A_LAYER = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
)
EMBEDDING, OUTPUT, ROPE_FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"
OUTPUT_NORM = "output_norm.weight"

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """What a model's metadata say of its computation."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    context_tokens: int
    rms_epsilon: float
    rope_base: float
    rope_scale: float
    """Positions are divided by it (linear scaling)."""

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def shape_of(metadata: Fields, names: Collection[str]) -> Shape:
    """The shape of a model, from the fields of its GGUF file.

    Args:
        names: of the file's tensors.

    Raises:
        CellError: it is a model that cannot be trained here.
    """
    architecture = metadata["general.architecture"]
    if architecture not in ARCHITECTURES:
        raise CellError(
            f"learning for few bits knows the architecture {', '.join(ARCHITECTURES)}, and "
            f"this is {architecture}"
        )
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise CellError(f"rotary embeddings scaled by {scaling!r} cannot be trained; linear can")
    width, heads = _whole(metadata, "embedding_length"), _whole(metadata, "attention.head_count")
    if _whole(metadata, "rope.dimension_count", width // heads) != width // heads:
        raise CellError("rotary embeddings of a part of the head cannot be trained")
    shape = Shape(
        layers=_whole(metadata, "block_count"),
        width=width,
        heads=heads,
        kv_heads=_whole(metadata, "attention.head_count_kv", heads),
        context_tokens=_whole(metadata, "context_length"),
        rms_epsilon=_number(metadata, "attention.layer_norm_rms_epsilon"),
        rope_base=_number(metadata, "rope.freq_base", 10000.0),
        rope_scale=_number(metadata, "rope.scaling.factor", 1.0) if scaling == "linear" else 1.0,
    )
    _check_names(shape, names)
    return shape


def _whole(metadata: Fields, name: str, default: int | None = None) -> int:
    value = metadata.get(f"llama.{name}", default)
    if not isinstance(value, int):
        raise CellError(f"the file does not say llama.{name}")
    return value


def _number(metadata: Fields, name: str, default: float | None = None) -> float:
    value = metadata.get(f"llama.{name}", default)
    if not isinstance(value, int | float):
        raise CellError(f"the file does not say llama.{name}")
    return value


def _check_names(shape: Shape, names: Collection[str]) -> None:
    """Every tensor of the file has its place in the computation, and the other way round."""
    needed = {EMBEDDING, OUTPUT_NORM}
    for i in range(shape.layers):
        needed |= {f"blk.{i}.{part}.weight" for part in OF_A_LAYER}
    if missing := sorted(needed - set(names)):
        raise CellError(f"the file lacks {missing[0]}; mixtures of experts cannot be trained")
    if unknown := sorted(set(names) - needed - {OUTPUT, ROPE_FACTORS}):
        raise CellError(f"the file holds {unknown[0]}, which this training does not know")


def output_name(weights: Collection[str]) -> str:
    """The matrix that makes logits: the embedding's, where the file has none of its own."""
    return OUTPUT if OUTPUT in weights else EMBEDDING


def hidden_states(
    weights: Weights,
    tokens: Tensor,
    shape: Shape,
    *,
    dtype: torch.dtype,
    recompute: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """What the output matrix is multiplied with, and the output of each layer.

    Args:
        tokens: int [sequences, positions].
        dtype: of matrix products; everything else is float32.
        recompute: keep a layer's input only, and compute it again on the way back.

    Returns:
        float32 [sequences, positions, width], and as many of this shape as there are layers.
    """
    turned = rotation(weights.get(ROPE_FACTORS), tokens.shape[1], shape, tokens.device)
    state = F.embedding(tokens, weights[EMBEDDING]).float()
    outputs = []
    for i in range(shape.layers):
        parts = {part: weights[f"blk.{i}.{part}.weight"] for part in OF_A_LAYER}
        if recompute:
            state = checkpoint(layer, parts, state, turned, shape, dtype, use_reentrant=False)
        else:
            state = layer(parts, state, turned, shape, dtype)
        outputs.append(state)
    return norm(state, weights[OUTPUT_NORM], shape), outputs


def layer(
    parts: Weights, state: Tensor, turned: Tensor, shape: Shape, dtype: torch.dtype
) -> Tensor:
    """The output of a transformer block, float32 as its input.

    Args:
        parts: weights of the block, by their names in `OF_A_LAYER`.
        state: float32 [sequences, positions, width].
        turned: of `rotation`.
        dtype: of matrix products.
    """

    def times(x: Tensor, part: str) -> Tensor:
        return F.linear(x.to(dtype), parts[part].to(dtype))

    def heads(x: Tensor) -> Tensor:
        """[sequences, heads, positions, head width]"""
        return x.unflatten(-1, (-1, shape.head_width)).transpose(1, 2)

    x = norm(state, parts["attn_norm"], shape).to(dtype)
    q = _rotate(heads(times(x, "attn_q")), turned)
    k = _rotate(heads(times(x, "attn_k")), turned)
    v = heads(times(x, "attn_v"))
    grouped = shape.kv_heads != shape.heads
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
    state = state + times(mixed.transpose(1, 2).flatten(2), "attn_output")
    x = norm(state, parts["ffn_norm"], shape).to(dtype)
    return state + times(F.silu(times(x, "ffn_gate")) * times(x, "ffn_up"), "ffn_down")


def norm(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Of a block's input, or of the last block's output."""
    return F.rms_norm(x, (shape.width,), weight, shape.rms_epsilon)


def rotation(factors: Tensor | None, positions: int, shape: Shape, device: torch.device) -> Tensor:
    """Of the positions: cosines and sines, float32 [2, positions, half a head].

    Args:
        factors: of the frequencies, where the model has them.
    """
    pair = torch.arange(0, shape.head_width, 2, device=device, dtype=torch.float32)
    frequency = torch.exp(pair * (-math.log(shape.rope_base) / shape.head_width))
    if factors is not None:
        frequency = frequency / factors.float()
    position = torch.arange(positions, device=device, dtype=torch.float32) / shape.rope_scale
    angle = position[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()])


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Neighbouring pairs turned by their angle; the pairs' first halves come to lie in front of the
    second ones, in queries and keys alike, which changes no product of theirs."""
    cos, sin = rotation
    a, b = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)
