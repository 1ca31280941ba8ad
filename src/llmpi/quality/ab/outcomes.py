"""What became of the prompts of which something is expected, whoever answered them."""

from collections.abc import Sequence

from llmpi.quality.ab.checks import judge
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.ab.records import AbSummary, Outcome
from llmpi.quality.records import Answer


def outcomes_of(prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Outcome]:
    """
    Args:
        prompts, answers: same length and order.
    """
    judged = [judge(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    return [
        {"id": prompt.id, "tags": prompt.tags, "passed": found["passed"]}
        for prompt, found in zip(prompts, judged, strict=True)
        if found["passed"] is not None
    ]


def summarize(items: int, outcomes: Sequence[Outcome]) -> AbSummary:
    """
    Args:
        items: prompts, with those of which nothing is expected.
    """
    passed = [found["passed"] for found in outcomes]
    return {
        "items": items,
        "judged": len(passed),
        "passed_pct": 100 * sum(passed) / len(passed) if passed else None,
    }
