"""Which prompts stand in a group, so that what they share is computed once."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from llmpi.quality.batching.schedule import Tokens, common_prefix


class _Split(NamedTuple):
    """Groups of prompts (their numbers), and how many rows these save."""

    groups: list[list[int]]
    saved: int


def groups_of(prompts: Sequence[Tokens]) -> list[list[int]]:
    """Numbers of the prompts, each once, in groups for `llmpi.quality.batching.schedule.Schedule`.

    In sorted order, prompts that share a prefix are neighbours. Some are best kept together for the
    few tokens all of them share, such as a task's worked examples; others apart for the many that
    some share, such as a passage. Whichever saves more rows is taken, level by level.

    Args:
        prompts: none of them empty.
    """
    if not prompts:
        return []
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    shared = [common_prefix((prompts[i], prompts[j])) for i, j in pairwise(order)]
    # What all prompts begin with is computed beforehand, however they are grouped.
    return _split(order, shared, min(shared, default=0)).groups


def _split(order: list[int], shared: list[int], known: int) -> _Split:
    """The better of one group and several; `shared[i]` tokens are the same in `i` and `i + 1`."""
    if len(order) == 1:
        return _Split([order], 0)
    least = min(shared)
    together = _Split([order], (len(order) - 1) * (least - known))
    # A finer level shares twice as much at least: few levels, however long the prompts are.
    cuts = [i + 1 for i, tokens in enumerate(shared) if tokens <= 2 * least]
    parts = [
        _split(order[start:end], shared[start : end - 1], known)
        for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)
    ]
    apart = _Split([g for part in parts for g in part.groups], sum(part.saved for part in parts))
    return max(apart, together, key=lambda split: split.saved)
