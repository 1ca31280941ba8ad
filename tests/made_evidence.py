"""Made-up answers of variants to the same questions, as the decision reads them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmpi.quality.evidence import Requirement, Requirements, ScoredItem, evidence_of
from llmpi.quant_types import width_order
from llmpi.study.runs import Scored

Answers = np.ndarray
"""Scores from 0 to 1 of the questions, shape (passages, questions); the first half of each row has
an answer."""


class Truth(NamedTuple):
    """How often a variant is right, per cent: where there is an answer, and where there is none."""

    has_ans: float
    no_ans: float


def answers(
    truths: Mapping[Scored, Truth], passages: int, questions: int = 10, seed: int = 0
) -> dict[Scored, Answers]:
    """Every variant of a model goes wrong where the others do, too: one draw a question, held
    against each one's rate. The shares come out exactly as they are asked for."""
    rng = np.random.default_rng(seed)
    half = questions // 2
    found = {}
    places = [rng.permutation(passages * half), rng.permutation(passages * (questions - half))]
    for variant, truth in truths.items():
        sides = []
        for place, rate, width in zip(places, truth, (half, questions - half), strict=True):
            right = place < round(rate / 100 * passages * width)
            sides.append(right.astype(float).reshape(passages, width))
        found[variant] = np.hstack(sides)
    return found


def requirements(
    answered: Mapping[Scored, Answers], task: str = "qa", margin: float = 5.0
) -> Requirements:
    """Those of a `squad` task."""
    if not answered:
        return {"study": "s", "requirements": []}
    found = list(answered.values())
    half = found[0].shape[1] // 2
    asked = found[0].size
    return {
        "study": "s",
        "requirements": [
            requirement(
                {v: a[:, :half] for v, a in answered.items()}, task, "has_ans_f1", margin, asked
            ),
            requirement(
                {v: a[:, half:] for v, a in answered.items()}, task, "no_ans", margin, asked
            ),
        ],
    }


def requirement(
    answered: Mapping[Scored, Answers], task: str, metric: str, margin: float, asked: int
) -> Requirement:
    clusters = [f"p{i:04}" for i in range(len(next(iter(answered.values()))))]
    items = {variant: _items(found, clusters) for variant, found in answered.items()}
    return {
        "task": task,
        "metric": metric,
        "tag": None,
        "margin": margin,
        "kind": "loss",
        "cluster": "passage",
        "clusters": clusters,
        "asked": asked,
        "variants": evidence_of(items, order_of(answered), clusters),
    }


def order_of(variants: Mapping[Scored, object]) -> dict[str, list[str]]:
    """Model -> its quantizations from the widest to the narrowest."""
    found: dict[str, list[str]] = {}
    for variant in sorted(variants, key=lambda v: width_order(v.quant)):
        found.setdefault(variant.model, []).append(variant.quant)
    return found


def _items(found: Answers, clusters: Sequence[str]) -> list[ScoredItem]:
    return [
        ScoredItem(f"{cluster} {at}", cluster, float(score))
        for cluster, row in zip(clusters, found, strict=True)
        for at, score in enumerate(row)
    ]
