"""A mix by a budget of time before its board has rates: as large as what is read meanwhile."""

from collections.abc import Mapping

from llmpi.errors import LlmpiError
from llmpi.plan.model import Model
from llmpi.plan.presets import Board
from llmpi.quant_types import IMATRIX, MIX, RATED_WITH, budget_of, rated_on, wants_imatrix

MIB = 1024**2


def as_bytes(quant: str, model: Model, boards: Mapping[str, Board | None]) -> str:
    """A variant; of one that is made for a board the variant that stands for it in a plan.

    Args:
        boards: by device.

    Raises:
        LlmpiError: nothing is known of its board; or what it reads so fast is no mix of the model.
    """
    budget = budget_of(quant)
    if not budget or not budget.device or not budget.tokens_per_s:
        return quant
    if (board := boards[budget.device]) is None:
        raise LlmpiError(
            f"how large {quant} is hangs on {budget.device}, which was never measured and names no "
            "preset"
        )
    size = board.decode_bytes_per_s.likely / budget.tokens_per_s / MIB
    mix = f"{MIX}{f'{size:.1f}'.removesuffix('.0')}M{IMATRIX * wants_imatrix(quant)}"
    try:
        model.sizes(mix)
    except LlmpiError as error:
        raise LlmpiError(f"{quant}, reckoned by the bytes that are read so fast: {error}") from None
    return mix


def about(quant: str) -> str:
    """A variant where its size matters little: of one that is made for a board any of 4 bits."""
    return RATED_WITH if rated_on(quant) else quant
