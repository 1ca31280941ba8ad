"""Which variants of a study cannot be made, because their model cannot learn for few bits, or
leaves a mix's budget no choice: said before anything is fetched, with the reason for which the
training or the search would refuse them."""

from collections.abc import Mapping

from llmpi.engine.shown import visible
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.fallbacks import check_quantizes
from llmpi.gguf.mix.groups import UNIFORM
from llmpi.gguf.trainable import Header, check, check_roundable
from llmpi.plan.model import Model
from llmpi.quant_types import is_mix, is_rounded, is_trained, type_of
from llmpi.study.runs import Variant


def refused(variant: Variant, model: Model) -> str | None:
    """Why a variant whose weights, rounding or types are learned cannot be made, and what could, in
    a user's words; None where it can, or where that is not known yet.

    Args:
        model: what is known of the variant's model.
    """
    try:
        _check(variant.quant, model)
    except CellError as error:
        why = visible(str(error))
        instead = (
            ""
            if is_mix(variant.quant)
            else f"take {type_of(variant.quant)} or a mix in its place, or "
        )
        return (
            f"{variant.model} {variant.quant}: impossible. {why[0].upper()}{why[1:]}. Its "
            f"cells will be recorded as failed, and the others go on; {instead}leave it out with "
            "`exclude`."
        )
    except LlmpiError:  # the engine does not say it, which the plan of its sessions tells
        return None
    return None


def _check(quant: str, model: Model) -> None:
    """
    Raises:
        CellError: it cannot be made.
        LlmpiError: the engine does not know the model.
    """
    if is_mix(quant):
        check_quantizes(UNIFORM, model.quantized(UNIFORM)["kinds"])
        if why := model.over_budget(quant):
            raise CellError(why)
    if is_trained(quant) or is_rounded(quant):
        check(header_of(model))
    if is_trained(quant):
        check_quantizes(type_of(quant), model.quantized(quant)["kinds"])
    if is_rounded(quant):
        check_roundable(_kinds_of_blocks(model, quant))


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
