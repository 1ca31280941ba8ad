"""The values llama.cpp will read of a weight, while it is still being trained.

`Q4_0`, `Q8_0`, `TQ1_0` and `TQ2_0` are ggml's reference quantizers (ggml-quants.c,
quantize_row_*_ref) in torch, byte for byte, on the CPU or a GPU; every other type goes through
ggml's own functions. Matrices are float32 [rows, columns].
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from llmpi.gguf import quantizers

TERNARY = frozenset({"TQ1_0", "TQ2_0"})
PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
PIECE = 1 << 17
"""So many elements and what is computed of them stay in a core's cache."""


class Codes(NamedTuple):
    scales: Tensor
    """float16 [blocks, 1]"""
    codes: Tensor
    """float32 [blocks, block], whole numbers; a weight is its code times its block's scale."""


def shaped(weights: Tensor, kind: str) -> Tensor:
    """What is handed to ggml's quantizer of a type in place of the trained weights.

    For ternary types the absmean ternary weights of BitNet b1.58 (Ma et al. 2024, arXiv
    2402.17764, eq. 1-3), RoundClip(W / mean|W|, -1, 1) times mean|W|, the mean as float16, which
    those types then hold exactly; ggml alone would scale by a block's largest weight, and make
    zeros of all that are below half of it. For all other types the weights themselves.
    """
    if kind not in TERNARY:
        return weights
    scale = weights.abs().mean().half().float()
    if not scale:
        return torch.zeros_like(weights)
    return (weights / scale).round_().clamp_(-1, 1).mul_(scale)


def fake_quantize(weights: Tensor, kind: str, out: Tensor) -> None:
    """Write the float32 values that llama.cpp reads of `weights` as a type to `out`.

    Args:
        weights: as trained; see `shaped`.
        kind: `Q4_0`, `Q6_K`, ..., as ggml spells it, in capitals; a vector is of a plain type.
        out: of the shape of `weights`, on the same device.
    """
    if kind in PLAIN:
        out.copy_(weights.to(PLAIN[kind]))
    elif kind in TERNARY:
        out.copy_(shaped(weights, kind))  # held exactly
    elif kind in IN_TORCH:
        encode, block, _ = IN_TORCH[kind]
        for source, target in _pieces(weights, out, block):
            scales, codes = encode(source)
            torch.mul(codes, scales.float(), out=target)
    else:
        data = quantizers.quantized(weights.cpu().numpy(), kind)
        values = quantizers.dequantized(data, kind, weights.shape[1])
        out.copy_(torch.from_numpy(values))


def packed(weights: Tensor, kind: str) -> Tensor:
    """The bytes that a GGUF file holds of `weights` as a type.

    Args:
        weights: what `shaped` gives.

    Returns:
        uint8 [rows, bytes of a row], on the CPU.
    """
    if kind in PLAIN:
        return weights.to(PLAIN[kind]).cpu().contiguous().view(torch.uint8)
    if kind in IN_TORCH:
        encode, block, pack = IN_TORCH[kind]
        blocks = weights.reshape(-1, block)
        return pack(encode(blocks)).reshape(len(weights), -1).cpu()
    return torch.from_numpy(quantizers.quantized(weights.cpu().numpy(), kind))


def _pieces(weights: Tensor, out: Tensor, block: int) -> Iterator[tuple[Tensor, Tensor]]:
    source, target = weights.view(-1, block), out.view(-1, block)
    size = PIECE // block if weights.device.type == "cpu" else len(source)
    yield from zip(source.split(size), target.split(size), strict=True)


# --- the four types -------------------------------------------------------------------------------


def _q4_0(blocks: Tensor) -> Codes:
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    extreme = torch.where(high > -low, high, low) + 0.0  # no -0.0
    tied = ((high == -low) & (high > 0)).squeeze(1)
    if tied.any():  # ggml takes the sign of the first
        rows = blocks[tied]
        first = (rows.abs() == high[tied]).byte().argmax(1, keepdim=True)
        extreme[tied] = rows.gather(1, first)
    scale = extreme * -0.125
    codes = _whole(_times_inverse(blocks, scale).add_(8.5)).clamp_(max=15).sub_(8)
    lost = ((scale != 0) & scale.reciprocal().isinf()).squeeze(1)
    if lost.any():  # the inverse of a denormal: what C makes of infinity as int8_t
        codes[lost] = -8
    return Codes(scale.half(), codes)


def _q8_0(blocks: Tensor) -> Codes:
    # By a tensor: torch divides by a plain number on a GPU by multiplying with its inverse.
    scale = _largest(blocks) / torch.full((), 127.0, device=blocks.device)
    return Codes(scale.half(), _round(_times_inverse(blocks, scale)))


def _ternary(blocks: Tensor) -> Codes:
    scale = _largest(blocks)
    return Codes(scale.half(), _round(_times_inverse(blocks, scale)))


def _largest(blocks: Tensor) -> Tensor:
    return torch.maximum(blocks.amin(1, keepdim=True).abs(), blocks.amax(1, keepdim=True).abs())


def _times_inverse(blocks: Tensor, scale: Tensor) -> Tensor:
    """`blocks` times 1/scale, and 0 of a scale whose inverse is none."""
    inverse = scale.reciprocal()
    return blocks * torch.where(inverse.isfinite(), inverse, 0)


def _whole(values: Tensor) -> Tensor:
    """Towards zero; many times as fast as torch's own trunc on a CPU."""
    return values.int().float()


def _round(values: Tensor) -> Tensor:
    """As C's roundf, halves away from zero; torch rounds them to even."""
    whole = _whole(values)
    return _whole(values.sub_(whole).mul_(2)).add_(whole)


def _pack_q4_0(coded: Codes) -> Tensor:
    """struct block_q4_0 (ggml-common.h): a scale, then two codes to a byte, 16 apart."""
    codes = (coded.codes + 8).byte()
    return torch.cat([_bytes(coded.scales), codes[:, :16] | codes[:, 16:] << 4], 1)


def _pack_q8_0(coded: Codes) -> Tensor:
    """struct block_q8_0."""
    return torch.cat([_bytes(coded.scales), coded.codes.to(torch.int8).view(torch.uint8)], 1)


def _pack_tq2_0(coded: Codes) -> Tensor:
    """struct block_tq2_0: of each 128 codes, four to a byte, 32 apart; then the scale."""
    codes = (coded.codes + 1).byte().view(-1, 2, 4, 32)
    quads = codes[:, :, 0] | codes[:, :, 1] << 2 | codes[:, :, 2] << 4 | codes[:, :, 3] << 6
    return torch.cat([quads.flatten(1), _bytes(coded.scales)], 1)


def _pack_tq1_0(coded: Codes) -> Tensor:
    """struct block_tq1_0: five codes to a byte, 32 apart of the first 160 and 16 apart of the next
    80, the last 16 four to a byte, 4 apart; then the scale."""
    codes = (coded.codes + 1).int()
    fives = [codes[:, :160].view(-1, 5, 32), codes[:, 160:240].view(-1, 5, 16)]
    fours = codes[:, 240:].view(-1, 4, 4)
    fours = torch.cat([fours, torch.zeros_like(fours[:, :1])], 1)
    digits = [_base_3(part) for part in (*fives, fours)]
    return torch.cat([*digits, _bytes(coded.scales)], 1)


def _base_3(digits: Tensor) -> Tensor:
    """[blocks, 5, n] as n fractions of 243 in 256ths, rounded up, the first digit the highest."""
    powers = torch.tensor([81, 27, 9, 3, 1], dtype=torch.int32, device=digits.device)
    number = (digits * powers[:, None]).sum(1)
    return torch.div(number * 256 + 242, 243, rounding_mode="floor").byte()


def _bytes(scales: Tensor) -> Tensor:
    return scales.contiguous().view(torch.uint8)


IN_TORCH: dict[str, tuple[Callable[[Tensor], Codes], int, Callable[[Codes], Tensor]]] = {
    "Q4_0": (_q4_0, 32, _pack_q4_0),
    "Q8_0": (_q8_0, 32, _pack_q8_0),
    "TQ1_0": (_ternary, 256, _pack_tq1_0),
    "TQ2_0": (_ternary, 256, _pack_tq2_0),
}
"""Type -> how it is encoded, elements of a block, how its codes are packed."""
