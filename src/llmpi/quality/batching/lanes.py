"""How a block is cut into parts, each computed by itself: a pure function of what is asked.

Two lanes compute parts side by side, with half of the threads each: no thread waits for another
one at every operation, and what one lane does alone, such as choosing tokens, the other one's work
hides. A part begins in a cache that holds no more than what all prompts begin with: attention looks
at every cell in use, so that small parts are cheap. A part's last answers run with few others
beside them: so it has as many requests as an answer may have tokens, and a few at least.
"""

from collections.abc import Sequence
from typing import NamedTuple

from llmpi.quality.batching.schedule import Request, common_prefix

LANES = 2
FEWEST_REQUESTS, FEWEST_ROWS = 16, 1024
"""Of a part; measured with SmolLM2-135M on SQuAD (benchmarks.quality)."""


class Part(NamedTuple):
    """Indices of a block's groups, in order, and about how many rows these take."""

    groups: list[int]
    rows: int


def parts_of(groups: Sequence[Sequence[Request]], prefix_tokens: int) -> list[Part]:
    """The parts of a block, of about the same size each, the largest first; none without groups.

    Each group goes where the least is, the largest first (Graham 1969: at most 4/3 of the best).
    Their number is even, so that lanes end together, unless the groups are fewer.
    """
    sizes = [_rows(group, prefix_tokens) for group in groups]
    asked = [request for group in groups for request in group]
    if not asked:
        return []
    requests = max(FEWEST_REQUESTS, *(request.max_new_tokens for request in asked))
    wanted = min(len(asked) / requests, sum(sizes) / FEWEST_ROWS)
    count = min(len(groups), LANES * max(1, round(wanted / LANES)))
    parts = [Part([], 0)] * count
    for i in sorted(range(len(groups)), key=lambda i: -sizes[i]):
        least = min(range(count), key=lambda part: parts[part].rows)
        parts[least] = Part([*parts[least].groups, i], parts[least].rows + sizes[i])
    parts.sort(key=lambda part: -part.rows)
    return [Part(sorted(part.groups), part.rows) for part in parts]


def _rows(group: Sequence[Request], prefix_tokens: int) -> int:
    """Rows a group takes, if answers are half as long as they may be."""
    shared = common_prefix([request.prompt for request in group])
    return (shared - prefix_tokens) + sum(
        len(request.prompt) - shared + request.max_new_tokens // 2 + sum(map(len, request.score))
        for request in group
    )
