"""All that a study scores against the widest of its model by default, on the same questions."""

from collections.abc import Mapping, Sequence
from typing import Literal

from llmpi.quality.kind import NotScored
from llmpi.quality.squad.records import Item, SquadScored
from llmpi.quality.statistics import (
    Compared,
    Pair,
    compare_all,
    distinguishable,
    holm,
)
from llmpi.study.runs import Scored

Scores = Mapping[Scored, SquadScored | NotScored]
Told = Literal["better", "worse", "not distinguishable"]


class Comparison(Compared):
    """A variant against its model's widest quantization, which is computed by default.

    p values are adjusted by Holm's method over the study's F1, and apart over its exact matches.
    """

    task: str
    model: str
    quant: str
    computation: str
    reference: str
    p_adjusted: float | None
    exact_p_adjusted: float | None
    verdict: Told


def comparisons(
    order: Mapping[str, Sequence[str]], scores: Mapping[str, Scores]
) -> list[Comparison]:
    """One for each comparison that could be made.

    Args:
        order: model -> its quantizations from the widest, the reference, to the narrowest.
        scores: by task.
    """
    asked = [
        (task, one, quants[0], pair)
        for task, records in scores.items()
        for model, quants in order.items()
        for one in _by_width(model, quants, records)
        if one != (reference := Scored(model, quants[0]))
        if (pair := _paired(records[reference], records[one]))
    ]
    compared = compare_all([pair for *_, pair in asked])
    found = [
        (task, one, widest, paired)
        for (task, one, widest, _), paired in zip(asked, compared, strict=True)
    ]
    adjusted = holm([paired["p"] for *_, paired in found])
    exact = holm([paired["mcnemar"]["p"] for *_, paired in found])
    return [
        {
            "task": task,
            "model": one.model,
            "quant": one.quant,
            "computation": one.computation,
            "reference": widest,
            **paired,
            "p_adjusted": p,
            "exact_p_adjusted": exact_p,
            "verdict": _verdict(paired["difference_pct"], p),
        }
        for (task, one, widest, paired), p, exact_p in zip(found, adjusted, exact, strict=True)
    ]


def scored_in(comparison: Comparison) -> Scored:
    """Of what a comparison tells."""
    return Scored(comparison["model"], comparison["quant"], comparison["computation"])


def _by_width(model: str, quants: Sequence[str], records: Scores) -> list[Scored]:
    return [one for quant in quants for one in records if one.variant == (model, quant)]


def _paired(reference: SquadScored | NotScored, variant: SquadScored | NotScored) -> Pair | None:
    if reference["status"] != "ok" or variant["status"] != "ok":
        return None
    return _pair(reference["items"], variant["items"])


def paired(reference: Sequence[Item], variant: Sequence[Item]) -> Compared | None:
    """On the questions both were asked; a descent may have stopped early."""
    pair = _pair(reference, variant)
    return compare_all([pair])[0] if pair else None


def _pair(reference: Sequence[Item], variant: Sequence[Item]) -> Pair | None:
    wanted = {item["id"]: item for item in reference}
    pairs = [(wanted[item["id"]], item) for item in variant if item["id"] in wanted]
    if not pairs:
        return None
    return Pair(
        [a["f1"] for a, _ in pairs],
        [b["f1"] for _, b in pairs],
        [a["paragraph"] for a, _ in pairs],
        exact_reference=[a["exact"] for a, _ in pairs],
        exact_variant=[b["exact"] for _, b in pairs],
    )


def _verdict(difference_pct: float, p_adjusted: float | None) -> Told:
    if not distinguishable(p_adjusted):
        return "not distinguishable"
    return "better" if difference_pct > 0 else "worse"
