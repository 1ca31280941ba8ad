"""Which tensors do not get the type they were meant for, as the engine's quantizer logs it."""

import re

from llmpi.errors import CellError
from llmpi.gguf.records import Fallback

# llama-quant.cpp, tensor_type_fallback
FALLBACK = re.compile(
    r"warning: (?P<tensor>\S+) +- ncols +(?P<columns>\d+) not divisible by +\d+ "
    r"\(required for type +(?P<wanted>\S+)\).*?-> falling back to +(?P<got>\S+)"
)
FALLBACK_COUNT = re.compile(r"WARNING: (\d+) of \d+ tensor\(s\) required fallback quantization")


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
