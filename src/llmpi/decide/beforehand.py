"""What the questions of a study can tell, said before anything is measured.

How often a quantization answers otherwise than its reference nobody knows yet. So evidence is made
up for a few shares of changed answers, of a variant that loses nothing on the whole, and judged as
what is measured will be (`llmpi.decide.joint`): by the same draws, at the level of all that the
study will say at once. What the planner promises of its questions is what the report will ask for.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmpi.decide.joint import FEWEST_CLUSTERS, POWER, Analysis, least_factor
from llmpi.quality.estimates import PRIOR_CORRELATION
from llmpi.quality.evidence import Cluster, Evidence, PairedLoss, Requirement
from llmpi.quality.foreseen import Foreseen, foreseen
from llmpi.study.decision import Constraints
from llmpi.study.runs import Scored, by_width, scored
from llmpi.study.study import Study

CHANGED = (0.0, 0.05, 0.15)
"""Of the answers, so many come out otherwise, half of them for the better. Of the demo's, 5 to 7 %
between F16 and Q6_K, 7 to 11 % to Q4_K_M, 17 to 29 % to Q4_0 (docs/demo/requirements.json)."""
USUAL = CHANGED[1]
MADE_UP_CLUSTERS = 4000
"""So many that what is made up comes out at the rates that it should."""


class Ahead(NamedTuple):
    """What a requirement's items can tell, four times in five."""

    task: str
    metric: str
    cluster: Cluster
    """What stands or falls together."""
    clusters: int
    """That have items of this metric."""
    items: int
    margin: float
    """Points."""
    needed: Mapping[float, int | None]
    """By the share of changed answers: items that show a variant to lose no more than the margin,
    which on the whole loses nothing; None where no reasonable number does."""
    margin_told: float | None
    """Points: the least margin for which the items that there are suffice, where `USUAL` are
    changed; None where they are of too few clusters for any."""


def ahead(study: Study) -> list[Ahead]:
    """Of every task whose items are known; nothing where no variant is held against another.

    Raises:
        LlmpiError: a task's file is not what it should be.
    """
    known = foreseen(study)
    widest = ((model, quants[0]) for model in study.models if (quants := by_width(study, model)))
    references = {Scored(*variant) for variant in widest}
    held = [one for one in scored(study) if one not in references]
    if not held or not known:
        return []
    confidence = (study.constraints or Constraints()).confidence_pct / 100
    judged = {c: _judged(known, held, references, c, confidence) for c in CHANGED}
    return [
        _ahead(task, at, one, held[0], judged)
        for task, found in known.items()
        for at, one in enumerate(found)
    ]


class _Judged(NamedTuple):
    analysis: Analysis
    requirements: Mapping[tuple[str, int], Requirement]
    """By task and place."""


def _judged(
    known: Mapping[str, Sequence[Foreseen]],
    held: Sequence[Scored],
    references: set[Scored],
    changed: float,
    confidence: float,
) -> _Judged:
    made = {
        (task, at): _requirement(task, f"made up {place}", one, held, references, changed)
        for place, (task, found) in enumerate(known.items())
        for at, one in enumerate(found)
    }
    return _Judged(Analysis(list(made.values()), confidence), made)


def _ahead(
    task: str, at: int, one: Foreseen, variant: Scored, judged: Mapping[float, _Judged]
) -> Ahead:
    clusters, items = sum(n > 0 for n in one.items), sum(one.items)
    times = _times(one)

    def told(changed: float, factor: float, margin: float) -> bool:
        analysis, requirements = judged[changed]
        return analysis.if_true(variant, requirements[task, at], factor, margin) >= POWER

    def needed(changed: float) -> int | None:
        least = FEWEST_CLUSTERS / (clusters * times)
        factor = least_factor(lambda f: told(changed, f, one.margin / 100), least)
        return None if factor is None else ceil(factor * times * items)

    return Ahead(
        task=task,
        metric=one.metric,
        cluster=one.cluster,
        clusters=clusters,
        items=items,
        margin=one.margin,
        needed={changed: needed(changed) for changed in CHANGED},
        margin_told=_least_margin(lambda margin: told(USUAL, 1 / times, margin))
        if clusters >= FEWEST_CLUSTERS
        else None,
    )


def _least_margin(told: Callable[[float], bool]) -> float | None:
    low, high = 0.0, 1.0
    if not told(high):
        return None
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if told(middle) else (middle, high)
    return 100 * high


# --- made-up evidence -----------------------------------------------------------------------------


def _requirement(
    task: str,
    clusters: str,
    one: Foreseen,
    held: Sequence[Scored],
    references: set[Scored],
    changed: float,
) -> Requirement:
    """
    Args:
        clusters: what their names, and so all that is drawn, go by: no name of a task or a model.
    """
    counts = np.tile(np.asarray(one.items, int), _times(one))
    found = [_evidence(variant, None) for variant in references]
    for place, variant in enumerate(held):
        loss = _loss(counts, changed, f"{clusters} {one.metric} {place}")
        found.append(_evidence(variant, loss))
    return {
        "task": task,
        "metric": one.metric,
        "tag": None,
        "margin": one.margin,
        "kind": "loss",
        "cluster": one.cluster,
        "clusters": [f"{clusters} {i}" for i in range(len(counts))],
        "asked": int(counts.sum()),
        "variants": found,
    }


def _times(one: Foreseen) -> int:
    """How often the clusters are repeated: an even number."""
    return 2 * ceil(MADE_UP_CLUSTERS / (2 * len(one.items)))


def _evidence(variant: Scored, loss: PairedLoss | None) -> Evidence:
    return {
        "model": variant.model,
        "quant": variant.quant,
        "computation": variant.computation,
        "score": None,
        "loss": loss,
        "reference": loss is None,
    }


def _loss(counts: NDArray[np.int64], changed: float, seed: str) -> PairedLoss:
    """As much is lost as gained: the second half of the clusters is the first with both exchanged.

    An item does as its cluster does so often that two of a cluster are correlated as SQuAD's are.
    """
    rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    half = counts[: len(counts) // 2]
    cluster = np.repeat(np.arange(len(half)), half)
    shared = rng.random(len(cluster)) < PRIOR_CORRELATION**0.5
    drawn = np.where(shared, rng.random(len(half))[cluster], rng.random(len(cluster)))
    ranked = cluster[np.argsort(drawn, kind="stable")]  # so that as many change as are to
    count = round(len(ranked) * changed / 2)
    one = np.bincount(ranked[:count], minlength=len(half)).astype(float)
    other = np.bincount(ranked[len(ranked) - count :], minlength=len(half)).astype(float)
    total = float(one.sum() + other.sum())
    return {
        "kind": "paired",
        "items": [int(n) for n in counts],
        "lost": {"sums": [*one.tolist(), *other.tolist()], "squares": total},
        "gained": {"sums": [*other.tolist(), *one.tolist()], "squares": total},
    }
