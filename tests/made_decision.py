"""Whole decisions on made-up answers: a summary that fits them, and who is picked."""

from collections.abc import Mapping, Sequence

import made_records as made
import numpy as np
from made_evidence import Answers, requirements

from llmpi.decide.choice import recommend
from llmpi.decide.records import Choice, Decision
from llmpi.quality.evidence import Requirements
from llmpi.quant_types import width_order
from llmpi.study.decision import Constraints
from llmpi.study.runs import Variant
from llmpi.study.study import Study
from llmpi.summary.records import ClassRow, Summary


def summary(
    scores: Mapping[Variant, float | None], devices: Sequence[str] = ("pi",), **config: object
) -> Summary:
    """Every variant on every device; the narrower, the faster and the smaller.

    Args:
        scores: overall F1, %; of no variant means no task.
    """
    quants = sorted({v.quant for v in scores}, key=width_order)
    tasks = {"qa": {"task": "squad", "squad_file": "qa.json"}}
    study = Study.model_validate(
        {
            "study": "s",
            "models": {v.model: {"source": {"path": "m.gguf"}} for v in scores},
            "quants": quants,
            "devices": {name: {"transport": "local"} for name in devices},
            "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 40}},
            "quality": tasks if any(f1 is not None for f1 in scores.values()) else {},
            **config,
        }
    )
    rows = [
        _row(device, at, v, f1, _widest(scores, v))
        for at, device in enumerate(devices)
        for v, f1 in scores.items()
    ]
    return {
        "study": "s",
        "classes": rows,
        "questions": {},
        "provenance": {"config": study.model_dump(mode="json")},
    }


def _widest(scores: Mapping[Variant, float | None], one: Variant) -> Variant:
    return min((v for v in scores if v.model == one.model), key=lambda v: width_order(v.quant))


def _row(device: str, at: int, variant: Variant, f1: float | None, widest: Variant) -> ClassRow:
    width = width_order(variant.quant)[0]
    tps = (10 + width) * (1 + at / 10)
    scored = {} if f1 is None else {"qa": made.squad_row(f1)}
    row = made.row(device, variant.quant, tps, **scored)
    row |= {"model": variant.model, "tg_min_tps": 0.99 * tps, "tg_max_tps": 1.01 * tps}
    return row | {"file_bytes": 1000 * (100 - width), "peak_rss_bytes": 2000 * (100 - width)}


def overall(answered: Mapping[Variant, Answers]) -> dict[Variant, float | None]:
    return {variant: 100 * float(np.mean(found)) for variant, found in answered.items()}


def decided(
    answered: Mapping[Variant, Answers],
    *,
    asked: Requirements | None = None,
    devices: Sequence[str] = ("pi",),
    **limits: object,
) -> Choice:
    """
    Args:
        asked: in place of what the answers say.
    """
    return recommend(
        summary(overall(answered), devices),
        requirements(answered) if asked is None else asked,
        Constraints.model_validate(limits),
    )


def first(choice: Choice) -> Decision:
    """The overall one."""
    return choice["decisions"][0]


def picked(choice: Choice) -> Variant | None:
    """Overall."""
    return variant_of(first(choice)["pick"])


def variant_of(candidate: str | None) -> Variant | None:
    return Variant(*candidate.split("/")[1:3]) if candidate else None


def verdicts(choice: Choice) -> dict[Variant, str | None]:
    return {
        Variant(c["model"], c["quant"]): c["standing"] and c["standing"]["verdict"]
        for c in choice["candidates"]
    }
