"""What the scores of two studies lost, on the same items."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from llmpi.compare.records import QualityChange, Verdict
from llmpi.quality.estimates import loss
from llmpi.quality.evidence import Requirement, Score, scored_in
from llmpi.quality.statistics import loss_interval
from llmpi.study.runs import Scored

FEWEST_CLUSTERS = 2


def quality_changes(
    before: Sequence[Requirement], after: Sequence[Requirement]
) -> Iterator[QualityChange]:
    """Of each metric and variant that both scored on the same clusters of items.

    A gate's metric is another requirement's, too, and comes once.
    """
    old, new = _by_name(before), _by_name(after)
    for name, one in old.items():
        other = new.get(name)
        if other is None or one["clusters"] != other["clusters"]:
            continue
        now = _scores(other)
        for scored, score in _scores(one).items():
            same = scored in now and score["items"] == now[scored]["items"]
            if same and np.count_nonzero(score["items"]) >= FEWEST_CLUSTERS:
                yield _change(one, scored, score, now[scored])


def _by_name(requirements: Sequence[Requirement]) -> dict[tuple[str, str], Requirement]:
    """What is asked for goes before what only has a score."""
    found: dict[tuple[str, str], Requirement] = {}
    for one in sorted(requirements, key=lambda r: ("loss", "score", "gate").index(r["kind"])):
        found.setdefault((one["task"], one["metric"]), one)
    return found


def _scores(requirement: Requirement) -> Mapping[Scored, Score]:
    return {scored_in(one): one["score"] for one in requirement["variants"] if one["score"]}


def _change(requirement: Requirement, scored: Scored, old: Score, new: Score) -> QualityChange:
    """What was lost and gained of each cluster is known as its sum. An item loses 1 at most, so
    that the squares of all are at most these sums: the interval is rather too wide."""
    counts = np.asarray(old["items"], float)
    sums = [np.asarray(score["score"]["sums"], float) for score in (old, new)]
    lost, gained = np.maximum(sums[0] - sums[1], 0), np.maximum(sums[1] - sums[0], 0)
    found = loss(lost, float(lost.sum()), gained, float(gained.sum()), counts)
    bounds = loss_interval(found)
    assert bounds is not None, "two clusters have an interval"
    low, high = bounds
    margin = requirement["margin"] if requirement["kind"] == "loss" else None
    return {
        "task": requirement["task"],
        "metric": requirement["metric"],
        "model": scored.model,
        "quant": scored.quant,
        "computation": scored.computation,
        "items": int(counts.sum()),
        "before_pct": float(100 * sums[0].sum() / counts.sum()),
        "after_pct": float(100 * sums[1].sum() / counts.sum()),
        "loss_points": 100 * found.value + 0.0,
        "low_points": 100 * low,
        "high_points": 100 * high,
        "margin_points": margin,
        "verdict": _verdict(100 * low, 100 * high, margin),
    }


def _verdict(low: float, high: float, margin: float | None) -> Verdict:
    """Beyond the margin, or within it, as the decision has it of two variants."""
    if margin is None:
        return "not judged"
    if low > margin:
        return "worse"
    if high < -margin:
        return "better"
    return "the same" if high <= margin and low >= -margin else "undecided"
