"""The quantization types llama.cpp offers, spelled as its `llama-quantize` spells them.

A static table, because the Snakefile imports it at every parse; a test holds it against the
installed engine. Beside them stand mixes, which are named by what they may take.
"""

import math
import re
from typing import Literal, NamedTuple, get_args

# name -> llama_ftype (llama.h), from the widest to the narrowest.
FTYPES: dict[str, int] = {
    "F32": 0,
    "BF16": 32,
    "F16": 1,
    "Q8_0": 7,
    "Q6_K": 18,
    "Q5_1": 9,
    "Q5_K_M": 17,
    "Q5_K_S": 16,
    "Q5_0": 8,
    "Q4_1": 3,
    "Q4_K_M": 15,
    "Q4_K_S": 14,
    "Q4_0": 2,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
    "MXFP4_MOE": 38,
    "Q3_K_L": 13,
    "Q3_K_M": 12,
    "IQ3_M": 27,
    "IQ3_S": 26,
    "Q3_K_S": 11,
    "IQ3_XS": 22,
    "IQ3_XXS": 23,
    "Q2_K": 10,
    "IQ2_M": 29,
    "IQ2_S": 28,
    "Q2_0": 41,
    "IQ2_XS": 20,
    "Q2_K_S": 21,
    "IQ2_XXS": 19,
    "TQ2_0": 37,
    "TQ1_0": 36,
    "IQ1_M": 31,
    "IQ1_S": 24,
    "Q1_0": 40,
}

_WIDTHS = {name: place for place, name in enumerate(FTYPES)}

# Behind the name of a type: quantized with an importance matrix; trained for the type; rounded as
# was learned for it. A matrix is said last: Q4_0+round+imatrix.
IMATRIX, QAT, ROUND = "+imatrix", "-qat", "+round"

# Types whose rounding can be learned: of two to four bits, whose weights are codes times scales.
ROUNDABLE = (
    *("Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K"),
    *("Q2_0", "TQ2_0", "TQ1_0"),
)

# Whose lattice official training leaves weights on: see `llmpi.gguf.lattice`.
ON_LATTICE = "Q4_0"

# A file of the model's source as it is; behind a dot which, where there are several.
PUBLISHED = "as-published"

# llama.cpp refuses these without an importance matrix (llama-quant.cpp, tensor_requires_imatrix).
NEEDS_IMATRIX = frozenset(
    {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
)

# With a matrix these become the same file (ggml-quants.c: their quantizers do not look at one).
IGNORES_IMATRIX = frozenset(
    {"F32", "BF16", "F16", "Q8_0", "MXFP4_MOE", "Q2_0", "TQ2_0", "TQ1_0", "Q1_0"}
)

# What models are kept in before they are quantized.
FLOATS = frozenset({"F32", "BF16", "F16"})

# A mix: each group of tensors has the type that its budget is best spent on.
MIX = "MIX-"
_BUDGET = re.compile(
    MIX
    + r"(?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?)"
    + r"(?:(?P<unit>bpw|M|G|nats)"
    + r"|(?P<of>tps|nats)-(?P<device>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?))"
)
_BYTES = {"M": 1024**2, "G": 1024**3}

# The type of the file whose tokens are timed with the rates of a board: what they take beside its
# matrices is what those of a mix take.
RATED_WITH = "Q4_0"

# What a tensor of a mix may be, from wide to narrow: types of ggml (the quantizations above are
# mixes of them by llama.cpp's own rules). Those that waste their bits are left out: one bit,
# ternary, Q2_0, MXFP4.
TensorType = Literal[
    "F16",
    "Q8_0",
    "Q6_K",
    "Q5_1",
    "Q5_K",
    "Q5_0",
    "Q4_1",
    "Q4_K",
    "Q4_0",
    "IQ4_NL",
    "IQ4_XS",
    "Q3_K",
    "IQ3_S",
    "IQ3_XXS",
    "Q2_K",
    "IQ2_S",
    "IQ2_XS",
    "IQ2_XXS",
]
TENSOR_TYPES: tuple[TensorType, ...] = get_args(TensorType)
NARROWEST = 2
"""Bits per weight, without its scales."""

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "FP16": "F16", "FP32": "F32"}


def is_published(quant: str) -> bool:
    """Whether a variant is a file of the model's source, byte for byte."""
    return quant == PUBLISHED or quant.startswith(f"{PUBLISHED}.")


def type_of(quant: str) -> str:
    """The type of a variant: Q4_0 of Q4_0, of Q4_0+imatrix, of Q4_0-qat, of Q4_0+round and of
    Q4_0+round+imatrix; of a mix its budget. What a published file is of, only its tensors tell:
    that is its own name."""
    if is_published(quant):
        return quant
    bare = quant.removesuffix(IMATRIX)
    if _BUDGET.fullmatch(bare):  # of a board, maybe, that is called pi-qat
        return bare
    return bare.removesuffix(QAT) if bare.endswith(QAT) else bare.removesuffix(ROUND)


class Budget(NamedTuple):
    """What a mix may take, or lose."""

    bits_per_weight: float | None = None
    """Of all tensors, as the manifest of a file says it."""
    file_bytes: int | None = None
    tokens_per_s: float | None = None
    """That it is to decode at least, at the beginning of a context."""
    loss_nats: float | None = None
    """That it may diverge at most, on the mean of the calibration text; it is to take the least
    there is: bytes, or time where there is a"""
    device: str | None = None
    """of the study, which the time is of."""


def budget_of(quant: str) -> Budget | None:
    """The budget that names a mix, spelled in the one way there is for it; None where it is none,
    as one of no byte or of no end is.

    `M` and `G` are powers of 1024, as in every size of a config.
    """
    found = _BUDGET.fullmatch(type_of(quant))
    if not found:
        return None
    number = float(found["number"]) * _BYTES.get(found["unit"], 1)
    if not 0 < number < math.inf or (found["unit"] in _BYTES and number < 1):
        return None
    if "nats" in (found["unit"], found["of"]):
        return Budget(loss_nats=number, device=found["device"])
    if found["device"]:
        return Budget(tokens_per_s=number, device=found["device"])
    if found["unit"] == "bpw":
        return Budget(bits_per_weight=number)
    return Budget(file_bytes=int(number))


def rated_on(quant: str) -> str | None:
    """The device that a variant is made for, where it is: a mix whose choice is about time."""
    budget = budget_of(quant)
    return budget.device if budget else None


def is_mix(quant: str) -> bool:
    """Whether each group of a variant's tensors has a type of its own, by a budget."""
    return quant.startswith(MIX)


def least_bytes(quant: str, parameters: int) -> float:
    """Of so many weights: by what the type's name says, which its scales come on top of, or the
    budget, which is spent but for a rest; where it is not of bytes, the narrowest type there is."""
    if budget := budget_of(quant):
        return budget.file_bytes or parameters * (budget.bits_per_weight or NARROWEST) / 8
    return parameters * int("".join(filter(str.isdigit, type_of(quant).partition("_")[0]))) / 8


def is_trained(quant: str) -> bool:
    """Whether a variant comes out of quantization-aware training."""
    return quant.endswith(QAT) and not is_published(quant) and type_of(quant) != quant


def is_rounded(quant: str) -> bool:
    """Whether the rounding of a variant is learned."""
    return quant.removesuffix(IMATRIX).endswith(ROUND) and not is_published(quant)


def width_order(quant: str) -> tuple[int, float, str]:
    """Key that sorts variants from wide to narrow; of one type the plain one comes first.

    What was published comes before what was made of it, in the order that it stands in. Mixes come
    last: how wide so many bytes are, only a model tells, and so much time, only a board; and so
    much loss, only a search.
    """
    if is_published(quant):
        return -1, 0, ""
    kind = type_of(quant)
    if budget := budget_of(quant):
        size = budget.file_bytes or budget.bits_per_weight
        if budget.loss_nats:
            return len(_WIDTHS) + 3, budget.loss_nats, quant.removeprefix(MIX)
        if budget.tokens_per_s:
            return len(_WIDTHS) + 2, budget.tokens_per_s, quant.removeprefix(MIX)
        return len(_WIDTHS) + bool(budget.file_bytes), -(size or math.nan), quant.removeprefix(kind)
    return _WIDTHS[kind], 0, quant.removeprefix(kind)


def wants_imatrix(quant: str) -> bool:
    """Whether a variant is quantized with an importance matrix."""
    return quant.endswith(IMATRIX) and not is_published(quant)
