"""Every variant of a study against the widest of its model, on the same questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpi.quality.statistics import compare, distinguishable, holm
from llmpi.records import Record, is_ok
from llmpi.study.runs import Variant


def comparisons(
    tasks: Sequence[str],
    order: Mapping[str, Sequence[str]],
    scores: Mapping[Variant, Mapping[str, Record]],
) -> list[Record]:
    """One record for each comparison that could be made; p values adjusted over all of them.

    Args:
        tasks: ids of SQuAD tasks.
        order: model -> its quantizations from the widest, the reference, to the narrowest.
        scores: variant -> task -> quality record.

    Returns:
        What `llmpi.quality.statistics.compare` says, with `task`, `model`, `quant` and `reference`,
        `p_adjusted` (Holm, over the study's F1 and apart over its exact matches) and a `verdict`:
        `better`, `worse` or `not distinguishable`.
    """
    found: list[Record] = []
    for task in tasks:
        for model, (widest, *narrower) in order.items():
            reference = scores[Variant(model, widest)][task]
            for quant in narrower:
                if paired := _paired(reference, scores[Variant(model, quant)][task]):
                    where = {"task": task, "model": model, "quant": quant, "reference": widest}
                    found.append({**where, **paired})
    for record, adjusted in zip(found, holm([r["p"] for r in found]), strict=True):
        record["p_adjusted"] = adjusted
        record["verdict"] = _verdict(record["difference_pct"], adjusted)
    exact = holm([record["mcnemar"]["p"] for record in found])
    for record, adjusted in zip(found, exact, strict=True):
        record["mcnemar"]["p_adjusted"] = adjusted
    return found


def _paired(reference: Record, variant: Record) -> Record | None:
    """A comparison on the questions both were asked; a descent may have stopped early."""
    if not is_ok(reference) or not is_ok(variant):
        return None
    wanted = {item["id"]: item for item in reference["items"]}
    pairs = [(wanted[item["id"]], item) for item in variant["items"] if item["id"] in wanted]
    if not pairs:
        return None
    columns: list[list[Any]] = [
        [a["f1"] for a, _ in pairs],
        [b["f1"] for _, b in pairs],
        [a["paragraph"] for a, _ in pairs],
    ]
    return compare(
        *columns,
        exact_reference=[a["exact"] for a, _ in pairs],
        exact_variant=[b["exact"] for _, b in pairs],
    )


def _verdict(difference_pct: float, p_adjusted: float | None) -> str:
    if not distinguishable(p_adjusted):
        return "not distinguishable"
    return "better" if difference_pct > 0 else "worse"
