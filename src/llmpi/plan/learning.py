"""Which variants of a study cannot be made, because their model cannot learn for few bits: said
before anything is fetched, with the reason for which the training would refuse them."""

from collections.abc import Mapping

from llmpi.engine.shown import visible
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.trainable import Header, check, check_roundable
from llmpi.plan.model import Model
from llmpi.quant_types import is_rounded, is_trained, type_of
from llmpi.study.runs import Variant


def refused(variant: Variant, model: Model) -> str | None:
    """Why a variant whose weights or rounding are learned cannot be made, and what could, in a
    user's words; None where it can, or where that is not known yet.

    Args:
        model: what is known of the variant's model.
    """
    if not is_trained(variant.quant) and not is_rounded(variant.quant):
        return None
    try:
        check(header_of(model))
        if is_rounded(variant.quant):
            check_roundable(_kinds_of_blocks(model, variant.quant))
    except CellError as error:
        why = visible(str(error))
        return (
            f"{variant.model} {variant.quant}: impossible. {why[0].upper()}{why[1:]}. Its "
            f"cells will be recorded as failed, and the others go on; take "
            f"{type_of(variant.quant)} or a mix in its place, or leave it out with `exclude`."
        )
    except LlmpiError:  # the engine does not say it, which the plan of its sessions tells
        return None
    return None


def all_refused(variants: Mapping[Variant, Model | str]) -> list[str]:
    """Of each that cannot be made, why."""
    known = [(one, model) for one, model in variants.items() if isinstance(model, Model)]
    return [why for one, model in known if (why := refused(one, model))]


def header_of(model: Model) -> Header:
    """
    Raises:
        LlmpiError: the engine does not know the model.
    """
    whole = model.footprint
    return Header(whole["fields"], [weight["name"] for weight in whole["weights"]])


def _kinds_of_blocks(model: Model, quant: str) -> list[str]:
    named = zip(model.footprint["weights"], model.quantized(quant)["kinds"], strict=True)
    return [kind for weight, kind in named if weight["name"].startswith("blk.")]
