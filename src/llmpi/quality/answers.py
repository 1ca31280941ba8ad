"""What a variant's answers are made of: their tokens, and how many of them are right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmpi.quality.statistics import Grouped, grouped, share_interval


class Given(NamedTuple):
    """One answer, of a question that was asked.

    `right` is None where nothing says what a right one would be, or where to abstain would be: who
    never answers is not to look cheap. Questions of one `cluster` stand or fall together. Its
    `number` is the question's in the task's order, from 0.
    """

    prompt_tokens: int
    thought_tokens: int
    answer_tokens: int
    right: bool | None
    cluster: int
    number: int


class RightShare(NamedTuple):
    """0 to 1, with its 95 % interval; None below two clusters."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Answered:
    """Of the questions of a task that were asked, in any order.

    Args:
        tokens: of each its prompt's, its thought's and its answer's; n x 3, one column behind the
            other.
        judged: which of them could be right; n.
        numbers: of each its question's in the task's order; n.
        clusters: of each its question's: these stand or fall together; n.
        right: the share of the judged that is; None where there are none.
    """

    tokens: NDArray[np.int64]
    judged: NDArray[np.bool_]
    numbers: NDArray[np.int64]
    clusters: NDArray[np.int64]
    right: RightShare | None

    @cached_property
    def by_cluster(self) -> Grouped:
        return grouped(self.clusters)

    @cached_property
    def judged_at(self) -> NDArray[np.intp]:
        """Where those are that could be right."""
        return np.flatnonzero(self.judged)

    @cached_property
    def judged_by_cluster(self) -> Grouped:
        return grouped(self.clusters[self.judged])

    @cached_property
    def ordered_tokens(self) -> NDArray[np.int64]:
        """Prompts, thoughts and answers, each by size; n x 3."""
        return np.sort(self.tokens, axis=0)


def was_asked(error: str | None, new_tokens: int) -> bool:
    """Whether the model got the question: a thought that did not end is an error, too, and took
    its time; a prompt that does not fit the context takes none."""
    return error is None or new_tokens > 0


def answered(given: Iterable[Given]) -> Answered | None:
    """None where nothing was asked."""
    asked = list(given)
    if not asked:
        return None
    *tokens, right, cluster, numbers = zip(*asked, strict=True)
    judged, clusters = np.array([one is not None for one in right]), np.array(cluster, np.int64)
    return Answered(
        np.array(tokens, np.int64).T,
        judged,
        np.array(numbers, np.int64),
        clusters,
        _share([float(one) for one in right if one is not None], clusters[judged]),
    )


def _share(right: Sequence[float], clusters: NDArray[np.int64]) -> RightShare | None:
    if not right:
        return None
    return RightShare(sum(right) / len(right), *(share_interval(right, clusters) or (None, None)))
