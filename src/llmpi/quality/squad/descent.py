"""One step of a descent: whether a width holds against the widest, and whether to try it at all.

Widths are tested from high to low, each at the full alpha, and the first that does not hold ends
it: a fixed sequence, in which the probability of any wrong "holds" stays within alpha (Maurer,
Hothorn, Lehmacher, *Multiple Comparisons in Drug Clinical Trials and Preclinical Assays*, 1995).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from llmpi.engine.records import Failed
from llmpi.quality.records import Obstacle, Skipped
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.records import DescentSettings, Item, MetricName, SquadScored, Verdict
from llmpi.quality.squad.stopping import bounds, decide, fewest_paragraphs

SquadRecord = SquadScored | Skipped | Failed


class Step(NamedTuple):
    """Where a variant stands in a descent.

    Args:
        reference: the record of the widest variant.
        wider: by name, those of the variants of the next wider type: one that holds is enough.
    """

    settings: DescentSettings
    reference: SquadRecord
    wider: Mapping[str, SquadRecord]

    def skip(self) -> list[Obstacle]:
        """Why this width need not be tried; nothing if it must."""
        if self.reference["status"] == "skipped":
            return self.reference["obstacles"]
        if self.reference["status"] == "failed":
            return [{"kind": "widest not scored", "reason": self.reference["reason"]}]
        below = [self._against(name, record) for name, record in self.wider.items()]
        if not all(below):
            return []
        found = [obstacle for obstacles in below for obstacle in obstacles]
        return [obstacle for i, obstacle in enumerate(found) if obstacle not in found[:i]]

    def _against(self, name: str, wider: SquadRecord) -> list[Obstacle]:
        """What speaks against going on below this variant."""
        if wider["status"] == "skipped":
            return wider["obstacles"]
        if wider["status"] == "failed":
            return [{"kind": "wider not scored", "variant": name, "reason": wider["reason"]}]
        verdict = wider["descent"]
        if verdict is None or verdict["decision"] == "holds":
            return []
        margin_pct = self.settings["margin_pct"]
        return [{"kind": verdict["decision"], "variant": name, "margin_pct": margin_pct}]

    def verdict(self, items: Sequence[Item]) -> Verdict:
        """The decision on what was asked so far; not where `skip` tells not to ask."""
        assert self.reference["status"] == "ok"
        metric, margin = self.settings["metric"], self.settings["margin_pct"] / 100
        losses = paragraph_losses(self.reference["items"], items, metric)
        alpha = self.settings["alpha"]
        low, high = bounds(losses, alpha=alpha)
        return {
            "decision": decide(losses, margin=margin, alpha=alpha),
            "loss_pct": 100 * sum(losses) / len(losses) if losses else None,
            "low_pct": 100 * low,
            "high_pct": 100 * high,
            "paragraphs": len(losses),
            "questions": len(items),
            "of_questions": len(self.reference["items"]),
            "paragraphs_needed": fewest_paragraphs(margin, alpha),
            **self.settings,
        }


def paragraph_losses(
    reference: Sequence[Item], items: Sequence[Item], metric: MetricName
) -> list[float]:
    """Reference minus variant, the mean over the metric's questions of each paragraph of `items`
    that has any."""
    score, _ = METRICS[metric]
    wanted = {item["id"]: score(item) for item in reference}
    return paragraph_means(items, metric, lambda item: wanted[item["id"]] - score(item))


def paragraph_means(
    items: Sequence[Item], metric: MetricName, value: Callable[[Item], float]
) -> list[float]:
    """Of each paragraph, over those of its questions that are the metric's."""
    _, belongs = METRICS[metric]
    by_paragraph: dict[int, list[float]] = {}
    for item in filter(belongs, items):
        by_paragraph.setdefault(item["paragraph"], []).append(value(item))
    return [sum(values) / len(values) for values in by_paragraph.values()]
