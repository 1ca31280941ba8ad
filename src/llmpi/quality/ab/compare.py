"""A/B on the user's own prompts: which of two variants meets more of what is expected?"""

from collections.abc import Sequence
from dataclasses import asdict

from llmpi.quality.ab.checks import Outcome
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.statistics import RESAMPLES, clustered_interval, distinguishable, holm, sign_test
from llmpi.records import Record

INDISTINCT = "not distinguishable"

Pair = tuple[Prompt, Outcome, Outcome]


def compare(
    prompts: Sequence[Prompt], a_outcomes: Sequence[Outcome], b_outcomes: Sequence[Outcome]
) -> Record:
    """Two variants on the same prompts, paired prompt by prompt; differences are B minus A.

    Intervals: 95 %, percentile bootstrap of the paired differences over prompts. p values: exact
    McNemar test, two-sided (McNemar 1947, doi:10.1007/BF02295996; exact form: the sign test on
    prompts that only one variant passes); those of tags are adjusted together after Holm (1979,
    *A Simple Sequentially Rejective Multiple Test Procedure*).

    Args:
        prompts, a_outcomes, b_outcomes: same length and order.

    Returns:
        JSON-able; `all` (None if nothing is expected of any prompt) and `tags` (tag -> the same;
        only tags with expectations) hold {prompts, a_pct, b_pct, difference_pct, low_pct, high_pct,
        only_a, only_b, p, p_adjusted, verdict, f1}. Rates are per cent, differences percentage
        points; `low_pct` and `high_pct` are None where all prompts differ alike and so show no
        spread. `verdict` is "a better", "b better" or "not distinguishable" (p_adjusted > 0.05).
        `f1` is the same comparison of F1, None without references. `prompts` lists {id, tags, a, b}
        with the outcomes.

    Raises:
        ValueError: the three are not of one length and order.
    """
    pairs = list(zip(prompts, a_outcomes, b_outcomes, strict=True))
    if mixed := [p.id for p, a, b in pairs if not p.id == a.id == b.id]:
        raise ValueError(f"outcomes are out of order at prompt {mixed[0]!r}")
    checked = [pair for pair in pairs if pair[1].passed is not None]
    tags = dict.fromkeys(tag for prompt, *_ in checked for tag in prompt.tags)
    by_tag = {tag: _group([pair for pair in checked if tag in pair[0].tags]) for tag in tags}
    adjusted = holm([group["p"] for group in by_tag.values()])
    return {
        "interval": f"95 %, paired bootstrap over prompts, {RESAMPLES} resamples, seeded",
        "test": "McNemar, exact, two-sided; Holm-adjusted over the tags",
        "all": _with_verdict(everything := _group(checked), everything["p"]) if checked else None,
        "tags": {
            tag: _with_verdict(group, p)
            for (tag, group), p in zip(by_tag.items(), adjusted, strict=True)
        },
        "prompts": [
            {"id": prompt.id, "tags": prompt.tags, "a": asdict(a), "b": asdict(b)}
            for prompt, a, b in pairs
        ],
    }


def _group(pairs: Sequence[Pair]) -> Record:
    only_a = sum(bool(a.passed and not b.passed) for _, a, b in pairs)
    only_b = sum(bool(b.passed and not a.passed) for _, a, b in pairs)
    f1 = [(a.f1, b.f1) for _, a, b in pairs if a.f1 is not None and b.f1 is not None]
    return {
        **_difference([(float(bool(a.passed)), float(bool(b.passed))) for _, a, b in pairs]),
        "only_a": only_a,
        "only_b": only_b,
        "p": sign_test(only_a, only_b),
        "f1": _difference(f1) if f1 else None,
    }


def _difference(scores: Sequence[tuple[float, float]]) -> Record:
    """Means and their paired difference, from (A, B) per prompt, each 0 to 1."""
    differences = [100 * (b - a) for a, b in scores]
    interval = None
    if len(set(differences)) > 1:
        interval = clustered_interval(differences, range(len(scores)))
    low, high = interval or (None, None)
    return {
        "prompts": len(scores),
        "a_pct": 100 * sum(a for a, _ in scores) / len(scores),
        "b_pct": 100 * sum(b for _, b in scores) / len(scores),
        "difference_pct": sum(differences) / len(scores),
        "low_pct": low,
        "high_pct": high,
    }


def _with_verdict(group: Record, p_adjusted: float | None) -> Record:
    verdict = winner(group["only_a"], group["only_b"], p_adjusted)
    return {**group, "p_adjusted": p_adjusted, "verdict": verdict}


def winner(a_better: int, b_better: int, p: float | None) -> str:
    """ "a better" or "b better", or "not distinguishable" where p is above 0.05."""
    if not distinguishable(p):
        return INDISTINCT
    return "a better" if a_better > b_better else "b better"
