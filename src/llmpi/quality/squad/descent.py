"""One step of a descent: whether a width holds against the widest, and whether to try it at all.

Widths are tested from high to low, each at the full alpha, and the first that does not hold ends
it: a fixed sequence, in which the probability of any wrong "holds" stays within alpha (Maurer,
Hothorn, Lehmacher, *Multiple Comparisons in Drug Clinical Trials and Preclinical Assays*, 1995).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from llmpi.quality.squad.stopping import bounds, decide, fewest_paragraphs
from llmpi.records import Record, is_ok

Item = dict[str, Any]


class Step(NamedTuple):
    """Where a variant stands in a descent.

    Args:
        settings: the fields of `llmpi.study.Descent`.
        reference: the quality record of the widest variant.
        wider: by name, those of the variants of the next wider type: one that holds is enough.
    """

    settings: dict[str, Any]
    reference: Record
    wider: dict[str, Record]

    def skip(self) -> str | None:
        """Why this width need not be tried; None if it must."""
        if not is_ok(self.reference):
            return f"the widest variant was not scored: {self.reference['reason']}"
        reasons = [self._against(name, record) for name, record in self.wider.items()]
        stopped = [reason for reason in reasons if reason]
        if len(stopped) < len(reasons) or not stopped:
            return None
        return "; ".join(dict.fromkeys(stopped))

    def _against(self, name: str, wider: Record) -> str | None:
        """What speaks against going on below this variant."""
        if wider["status"] == "skipped":
            return str(wider["reason"])
        if not is_ok(wider):
            return f"{name}, the next wider, was not scored: {wider['reason']}"
        verdict = wider["descent"]
        if verdict and verdict["decision"] != "holds":
            how = "fails" if verdict["decision"] == "fails" else "was not shown to hold"
            return f"{name} {how} at a margin of {self.settings['margin_pct']:g} points"
        return None

    def verdict(self, items: Sequence[Item]) -> dict[str, Any]:
        """The decision on what was asked so far, and the loss in percentage points."""
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


def paragraph_losses(reference: Sequence[Item], items: Sequence[Item], metric: str) -> list[float]:
    """Reference minus variant, the mean over the questions of each paragraph of `items`.

    Args:
        metric: `exact` or `f1`, or with `has_ans_` in front of the answerable questions only.
    """
    key = metric.removeprefix("has_ans_")
    wanted = {item["id"]: float(item[key]) for item in reference}
    by_paragraph: dict[int, list[float]] = {}
    for item in items:
        if key != metric and not item["golds"]:
            continue
        loss = wanted[item["id"]] - float(item[key])
        by_paragraph.setdefault(item["paragraph"], []).append(loss)
    return [sum(losses) / len(losses) for losses in by_paragraph.values()]
