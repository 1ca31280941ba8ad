"""The quantization types llama.cpp offers, spelled as its `llama-quantize` spells them.

A static table, because the Snakefile imports it at every parse; a test holds it against the
installed engine.
"""

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

# Behind the name of a type: quantized with an importance matrix; trained for the type.
IMATRIX, QAT = "+imatrix", "-qat"

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

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "FP16": "F16", "FP32": "F32"}


def is_published(quant: str) -> bool:
    """Whether a variant is a file of the model's source, byte for byte."""
    return quant == PUBLISHED or quant.startswith(f"{PUBLISHED}.")


def type_of(quant: str) -> str:
    """The type of a variant: Q4_K_M of Q4_K_M, of Q4_K_M+imatrix and of Q4_K_M-qat; what a
    published file is of, only its tensors tell: that is its own name."""
    return quant if is_published(quant) else quant.removesuffix(IMATRIX).removesuffix(QAT)


def least_bits(quant: str) -> int:
    """Of a weight: what the type's name says, which its scales come on top of."""
    return int("".join(filter(str.isdigit, type_of(quant).partition("_")[0])))


def is_trained(quant: str) -> bool:
    """Whether a variant comes out of quantization-aware training."""
    return quant.endswith(QAT) and not is_published(quant)


def width_order(quant: str) -> tuple[int, str]:
    """Key that sorts variants from wide to narrow; of one type the plain one comes first.

    What was published comes before what was made of it, in the order that it stands in.
    """
    if is_published(quant):
        return -1, ""
    kind = type_of(quant)
    return _WIDTHS[kind], quant.removeprefix(kind)


def wants_imatrix(quant: str) -> bool:
    """Whether a variant is quantized with an importance matrix."""
    return quant.endswith(IMATRIX) and not is_published(quant)
