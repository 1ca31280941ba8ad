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
from llmpi.study.runs import Scored
from llmpi.study.study import Study
from llmpi.summary.records import ClassRow, Summary


def summary(
    scores: Mapping[Scored, float | None], devices: Sequence[str] = ("pi",), **config: object
) -> Summary:
    """Every variant on every device; the narrower, the faster and the smaller.

    Args:
        scores: overall F1, %.
    """
    quants = sorted({v.quant for v in scores}, key=width_order)
    study = Study.model_validate(
        {
            "study": "s",
            "models": {v.model: {"source": {"path": "m.gguf"}} for v in scores},
            "quants": quants,
            "devices": {name: {"transport": "local"} for name in devices},
            "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 40}},
            "quality": {},
            **config,
        }
    )
    asked = list(study.quality) or ["qa"]
    rows = [
        _row(device, at, v, f1, asked)
        for at, device in enumerate(devices)
        for v, f1 in scores.items()
    ]
    return {
        "study": "s",
        "rows": rows,
        "questions": {},
        "provenance": {"config": study.model_dump(mode="json")},
    }


def _row(device: str, at: int, variant: Scored, f1: float | None, asked: Sequence[str]) -> ClassRow:
    width = width_order(variant.quant)[0]
    tps = (10 + width) * (1 + at / 10)
    scored = {} if f1 is None else {task: made.squad_row(f1) for task in asked}
    row = made.row(device, variant.quant, tps, **scored)
    row |= {"model": variant.model, "tg_min_tps": 0.99 * tps, "tg_max_tps": 1.01 * tps}
    return row | {"file_bytes": 1000 * (100 - width), "memory_bytes": 2000 * (100 - width)}


def overall(answered: Mapping[Scored, Answers]) -> dict[Scored, float | None]:
    return {variant: 100 * float(np.mean(found)) for variant, found in answered.items()}


def decided(
    answered: Mapping[Scored, Answers],
    *,
    asked: Requirements | None = None,
    devices: Sequence[str] = ("pi",),
    **limits: object,
) -> Choice:
    """
    Args:
        asked: in place of what the answers say.
    """
    found = requirements(answered) if asked is None else asked
    study = summary(overall(answered), devices, quality=tasks(found))
    return recommend(study, found, Constraints.model_validate(limits))


def tasks(asked: Requirements) -> dict[str, object]:
    """As a config has them."""
    names = [requirement["task"] for requirement in asked["requirements"]]
    return {name: {"task": "squad", "squad_file": "qa.json"} for name in names}


def first(choice: Choice) -> Decision:
    """The overall one."""
    return choice["decisions"][0]


def picked(choice: Choice) -> Scored | None:
    """Overall."""
    return variant_of(first(choice)["pick"])


def variant_of(candidate: str | None) -> Scored | None:
    return Scored(*candidate.split("/")[1:3]) if candidate else None


def verdicts(choice: Choice) -> dict[Scored, str | None]:
    return {
        Scored(c["model"], c["quant"]): c["standing"] and c["standing"]["verdict"]
        for c in choice["candidates"]
    }
