"""What the decision rests on: by requirement and variant, what each cluster of items says.

A kind of task turns its records into requirements (`llmpi.quality.kind.Summary`); the decision
judges all of them together (`llmpi.decide.joint`). No item is in here, only sums.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from llmpi.engine.records import record
from llmpi.study.runs import Scored


@record
class Sums(TypedDict):
    """Of what lies between 0 and 1, over the items of each cluster."""

    sums: list[float]
    squares: float
    """Sum of the squares of all items."""


@record
class Score(TypedDict):
    """A variant's own score on its items."""

    items: list[int]
    """Of each cluster."""
    score: Sums


@record
class PairedLoss(TypedDict):
    """Against its reference, on the items that both were asked."""

    kind: Literal["paired"]
    items: list[int]
    """Of each cluster."""
    lost: Sums
    """What only the reference gets, of each item."""
    gained: Sums
    """What only the variant gets."""


@record
class LogRatio(TypedDict):
    """How much less likely it finds each token of a text than its reference does."""

    kind: Literal["log ratio"]
    items: list[int]
    """Tokens of each cluster."""
    nats: list[float]
    """Lost, of each cluster."""


@record
class Sequential(TypedDict):
    """What is known of a variant that was asked until a descent could tell: bounds that hold at
    whatever moment that was. Of a gate, how far the score is from 100."""

    kind: Literal["sequential"]
    decision: Literal["holds", "fails", "undecided"]
    items: int
    clusters: int
    loss_pct: float | None
    low_pct: float
    high_pct: float


AnyLoss = PairedLoss | LogRatio | Sequential
Cluster = Literal["passage", "prompt", "item", "window"]


@record
class Evidence(TypedDict):
    """What is known of a variant."""

    model: str
    quant: str
    computation: str
    """How it was computed, see `llmpi.study.computation`."""
    score: Score | None
    """None where the metric is none of a variant alone, or it has no items."""
    loss: AnyLoss | None
    """None of a reference, and of who could not be compared with it."""
    reference: bool
    """Whether the others of its model are held against it."""


@record
class Requirement(TypedDict):
    """Something that a variant must not lose more of than a margin."""

    task: str
    metric: str
    """Such as `has_ans_f1`; of prompts with a tag, `passed TAG`."""
    tag: str | None
    margin: float
    """Points; of a perplexity, per cent; of a gate, the least points to reach."""
    kind: Literal["loss", "gate", "score"]
    """`score`: nothing is asked of it, and it is a part of the quality all the same."""
    cluster: Cluster
    """What stands or falls together."""
    clusters: list[str]
    """Their names, the same for all metrics of a task, in order."""
    asked: int
    """Items of the task, those included that are not this metric's."""
    variants: list[Evidence]


@record
class Requirements(TypedDict):
    """All that a study asks of the quality of its variants."""

    study: str
    requirements: list[Requirement]


# --- from items -----------------------------------------------------------------------------------


class ScoredItem(NamedTuple):
    """An item that counts for a metric: its cluster, and its score from 0 to 1."""

    id: str
    cluster: str
    score: float


Items = Sequence[ScoredItem]
Places = Mapping[str, int]
"""Where in the order of the clusters each is."""


def score_of(items: Items, clusters: Sequence[str]) -> Score | None:
    """A variant's score by clusters; None without items."""
    return _score(items, _places(clusters))


def _score(items: Items, places: Places) -> Score | None:
    if not items:
        return None
    at = _at(items, places)
    return {
        "items": _counts(at, places),
        "score": _sums(at, np.array([item.score for item in items]), places),
    }


def _loss(reference: Mapping[str, float], variant: Items, places: Places) -> PairedLoss | None:
    """The paired loss on the items that both have; None where there is none.

    Args:
        reference: score of each item, by its id.
    """
    pairs = [item for item in variant if item.id in reference]
    if not pairs:
        return None
    at = _at(pairs, places)
    lost = np.array([reference[item.id] - item.score for item in pairs])
    return {
        "kind": "paired",
        "items": _counts(at, places),
        "lost": _sums(at, np.maximum(lost, 0.0), places),
        "gained": _sums(at, np.maximum(-lost, 0.0), places),
    }


def evidence_of(
    items: Mapping[Scored, Items], order: Mapping[str, Sequence[str]], clusters: Sequence[str]
) -> list[Evidence]:
    """All that has items, against the widest of its model as llama.cpp computes by default.

    Args:
        items: of a metric, by what is scored.
        order: model -> its quantizations from the widest, the reference, to the narrowest.
    """
    places = _places(clusters)
    widest = {model: Scored(model, quants[0]) for model, quants in order.items() if quants}
    references = {
        model: {item.id: item.score for item in items.get(one, ())} for model, one in widest.items()
    }
    return [
        {
            "model": one.model,
            "quant": one.quant,
            "computation": one.computation,
            "score": _score(found, places),
            "loss": None
            if one == widest[one.model]
            else _loss(references[one.model], found, places),
            "reference": one == widest[one.model],
        }
        for one, found in items.items()
    ]


def scored_in(evidence: Evidence) -> Scored:
    """Whose evidence it is."""
    return Scored(evidence["model"], evidence["quant"], evidence["computation"])


def _places(clusters: Sequence[str]) -> Places:
    return {name: at for at, name in enumerate(clusters)}


def _at(items: Items, places: Places) -> NDArray[np.intp]:
    """The place of each item's cluster."""
    return np.array([places[item.cluster] for item in items], np.intp)


def _counts(at: NDArray[np.intp], places: Places) -> list[int]:
    """Items of each cluster."""
    return np.bincount(at, minlength=len(places)).tolist()


def _sums(at: NDArray[np.intp], values: NDArray[np.float64], places: Places) -> Sums:
    """Everything is added up one by one, in the order of the items: numpy's `sum` of the squares
    would round otherwise."""
    squares = np.add.accumulate(values * values)
    sums = np.bincount(at, values, len(places))
    return {"sums": sums.tolist(), "squares": float(squares[-1])}
