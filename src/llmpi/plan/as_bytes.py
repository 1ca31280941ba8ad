"""A mix by a budget of time before its board has rates: as large as what is read meanwhile. How
large one of so much loss is, nothing tells but its search."""

from collections.abc import Mapping

from llmpi.errors import LlmpiError
from llmpi.plan.model import Model
from llmpi.plan.presets import Board
from llmpi.quant_types import IMATRIX, MIX, RATED_WITH, budget_of, wants_imatrix

MIB = 1024**2
LEAST_MIB = 0.1
"""That is written: no model is so small."""


def as_bytes(quant: str, model: Model, boards: Mapping[str, Board | None]) -> str:
    """A variant; of one that is made for a board the variant that stands for it in a plan.

    Args:
        boards: by device.

    Raises:
        LlmpiError: nothing is known of its board; or what it reads so fast is no mix of the model;
            or its budget is of loss.
    """
    budget = budget_of(quant)
    if budget and budget.loss_nats:
        raise LlmpiError(f"how large {quant} is, only its search tells")
    if not budget or not budget.device or not budget.tokens_per_s:
        return quant
    if (board := boards[budget.device]) is None:
        raise LlmpiError(
            f"how large {quant} is hangs on {budget.device}, which was never measured and names no "
            "preset"
        )
    size = max(LEAST_MIB, board.decode_bytes_per_s.likely / budget.tokens_per_s / MIB)
    mix = f"{MIX}{f'{size:.1f}'.removesuffix('.0')}M{IMATRIX * wants_imatrix(quant)}"
    if model.over_budget(mix):
        faster = "is faster even in its widest types; ask for more tokens/s"
        if size * MIB < model.sizes(RATED_WITH).file_bytes:
            faster = "is not so fast even in its narrowest types; ask for fewer tokens/s"
        raise LlmpiError(
            f"{quant}: by what {budget.device} is held to read in a second, {model.named} {faster}"
        )
    return mix


def about(quant: str) -> str:
    """A variant where its size matters little: any of 4 bits of one that is made for a board, or by
    what it may lose."""
    budget = budget_of(quant)
    return RATED_WITH if budget and (budget.device or budget.loss_nats) else quant
