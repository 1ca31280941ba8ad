"""Which tensors do not get the type they were meant for, as the engine's quantizer logs it."""

import re
from collections.abc import Collection

from llmpi.errors import CellError
from llmpi.gguf.records import Fallback
from llmpi.quant_types import FLOATS

# llama-quant.cpp, tensor_type_fallback
FALLBACK = re.compile(
    r"warning: (?P<tensor>\S+) +- ncols +(?P<columns>\d+) not divisible by +\d+ "
    r"\(required for type +(?P<wanted>\S+)\).*?-> falling back to +(?P<got>\S+)"
)
FALLBACK_COUNT = re.compile(r"WARNING: (\d+) of \d+ tensor\(s\) required fallback quantization")

NOTHING = "no tensor can be quantized: no type has blocks that divide its rows"


def check_quantizes(quant: str, kinds: Collection[str]) -> None:
    """
    Args:
        quant: what a model is quantized to, or trained for; one from scratch is for an F16.
        kinds: the types that llama.cpp gives its tensors.

    Raises:
        CellError: all of them stay as they are.
    """
    if quant not in FLOATS and {*kinds} <= FLOATS:
        raise CellError(NOTHING)


def parse_fallbacks(text: str) -> list[Fallback]:
    """Which tensors did not get the type they were meant for, from the quantizer's log.

    Raises:
        CellError: the log counts other fallbacks than it lists; a manifest must not hide any.
    """
    found: list[Fallback] = [
        {"tensor": match["tensor"], "wanted": match["wanted"], "got": match["got"]}
        for match in FALLBACK.finditer(text)
    ]
    counted = sum(int(count) for count in FALLBACK_COUNT.findall(text))
    if counted != len(found):
        raise CellError(
            f"the quantizer reports {counted} fallbacks, but its log lists {len(found)}; "
            "this llmpi does not understand this engine's log"
        )
    return found
