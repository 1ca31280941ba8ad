"""A/B on the user's own prompts: which of two variants meets more of what is expected?"""

from collections.abc import Sequence
from typing import NamedTuple

from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.ab.records import (
    Compared,
    ComparedPrompts,
    Difference,
    JudgedAnswer,
    Verdict,
)
from llmpi.quality.statistics import distinguishable, holm, loss_interval, paired_loss, sign_test

Pair = tuple[Prompt, JudgedAnswer, JudgedAnswer]


def compare(
    prompts: Sequence[Prompt], a_judged: Sequence[JudgedAnswer], b_judged: Sequence[JudgedAnswer]
) -> Compared:
    """Two variants on the same prompts, paired prompt by prompt; differences are B minus A.

    Intervals: 95 %, of the paired differences (`llmpi.quality.estimates.Loss`). p values: exact
    McNemar test, two-sided (McNemar 1947, doi:10.1007/BF02295996; exact form: the sign test on
    prompts that only one variant passes); those of tags are adjusted together after Holm (1979,
    *A Simple Sequentially Rejective Multiple Test Procedure*).

    Args:
        prompts, a_judged, b_judged: same length and order.

    Raises:
        ValueError: the three are not of one length and order.
    """
    pairs = list(zip(prompts, a_judged, b_judged, strict=True))
    if mixed := [p.id for p, a, b in pairs if not p.id == a["id"] == b["id"]]:
        raise ValueError(f"judged answers are out of order at prompt {mixed[0]!r}")
    checked = [pair for pair in pairs if pair[1]["passed"] is not None]
    tags = dict.fromkeys(tag for prompt, *_ in checked for tag in prompt.tags)
    by_tag = {tag: _group([pair for pair in checked if tag in pair[0].tags]) for tag in tags}
    adjusted = holm([group.p for group in by_tag.values()])
    return {
        "interval": "95 %, from Wilson's of what only A and only B meets",
        "test": "McNemar, exact, two-sided; Holm-adjusted over the tags",
        "all": _with_verdict(everything := _group(checked), everything.p) if checked else None,
        "tags": {
            tag: _with_verdict(group, p)
            for (tag, group), p in zip(by_tag.items(), adjusted, strict=True)
        },
        "prompts": [
            {"id": prompt.id, "tags": prompt.tags, "a": a, "b": b} for prompt, a, b in pairs
        ],
    }


class _Group(NamedTuple):
    """Prompts compared, before their p values are adjusted."""

    passed: Difference
    only_a: int
    only_b: int
    p: float
    f1: Difference | None


def _group(pairs: Sequence[Pair]) -> _Group:
    only_a = sum(bool(a["passed"] and not b["passed"]) for _, a, b in pairs)
    only_b = sum(bool(b["passed"] and not a["passed"]) for _, a, b in pairs)
    f1 = [(a["f1"], b["f1"]) for _, a, b in pairs if a["f1"] is not None and b["f1"] is not None]
    passed = [(float(bool(a["passed"])), float(bool(b["passed"]))) for _, a, b in pairs]
    return _Group(
        passed=difference(passed),
        only_a=only_a,
        only_b=only_b,
        p=sign_test(only_a, only_b),
        f1=difference(f1) if f1 else None,
    )


def difference(scores: Sequence[tuple[float, float]]) -> Difference:
    """Means and their paired difference, from (A, B) per prompt, each 0 to 1."""
    found = paired_loss([a for a, _ in scores], [b for _, b in scores], range(len(scores)))
    low, high = loss_interval(found) or (None, None)
    return {
        "prompts": len(scores),
        "a_pct": 100 * sum(a for a, _ in scores) / len(scores),
        "b_pct": 100 * sum(b for _, b in scores) / len(scores),
        "difference_pct": 0.0 - 100 * found.value,
        "low_pct": None if high is None else -100 * high,
        "high_pct": None if low is None else -100 * low,
    }


def _with_verdict(group: _Group, p_adjusted: float | None) -> ComparedPrompts:
    return {
        **group.passed,
        "only_a": group.only_a,
        "only_b": group.only_b,
        "p": group.p,
        "f1": group.f1,
        "p_adjusted": p_adjusted,
        "verdict": winner(group.only_a, group.only_b, p_adjusted),
    }


def winner(a_better: int, b_better: int, p: float | None) -> Verdict:
    """ "a better" or "b better", or "not distinguishable" where p is above 0.05."""
    if not distinguishable(p):
        return "not distinguishable"
    return "a better" if a_better > b_better else "b better"
