"""Every repetition once, in a random order, and those that other programs disturbed again."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from llmpi.device.machine.contention import disturbed, judge
from llmpi.device.measure import budget
from llmpi.device.records import SessionJob
from llmpi.engine.progress import say
from llmpi.engine.records import AnyRepetition
from llmpi.engine.records import Arm as Part

Arm = tuple[str, Part]
"""A workload, and what of it is repeated."""
ROUNDS = 3
"""What is disturbed in so many is not measured once more, nor where all was in the last two."""


class Workload(Protocol):
    """What is repeated."""

    def repeat(self, arm: Any, /, progress: str) -> AnyRepetition | None:  # arm: one of its own
        """One counted repetition; None where there is none any more."""

    def set_aside(self, arm: Any, repetition: Any, /) -> None:  # that it gave
        """It does not count any more."""


class Measured(Workload, Protocol):
    """One that a session measures."""

    def warm_up(self, seconds: float) -> None:
        """Before it is repeated.

        Args:
            seconds: what it may take with all that follows.
        """

    def arms(self) -> list[Arm]:
        """Each as often as it is to be repeated."""


class Done(NamedTuple):
    name: str
    arm: Part
    repetition: AnyRepetition


class Rounds:
    """Rounds of repetitions.

    Args:
        workloads: by name.
        others_at_most_pct: of the processors, what other programs may have.
        end: on the monotonic clock; what would take longer is not measured again.
    """

    def __init__(
        self, workloads: Mapping[str, Workload], others_at_most_pct: float, end: float
    ) -> None:
        self._workloads, self._most_pct, self._end = workloads, others_at_most_pct, end

    def through(self, arms: Sequence[Arm], rounds: int = ROUNDS) -> list[Arm]:
        """Repeat each as often as it is there; the order of the repetitions that count."""
        done = self._round(arms)
        again = [one for one in done if disturbed(one.repetition, self._most_pct)]
        in_vain = rounds < ROUNDS and len(again) == len(done)
        if not again or rounds == 1 or in_vain or not self._is_time_for(again):
            return [(one.name, one.arm) for one in done]
        for one in again:
            self._workloads[one.name].set_aside(one.arm, one.repetition)
        say(f"{len(again)} of {len(done)} repetitions were disturbed: measured again")
        counted = [(one.name, one.arm) for one in done if one not in again]
        return counted + self.through([(one.name, one.arm) for one in again], rounds - 1)

    def _round(self, arms: Sequence[Arm]) -> list[Done]:
        done = [
            Done(name, arm, repetition)
            for i, (name, arm) in enumerate(arms)
            if (repetition := self._workloads[name].repeat(arm, f"{i + 1}/{len(arms)}"))
        ]
        judge([one.repetition for one in done])
        for i, one in enumerate(done):
            found = one.repetition.get("contention")
            if found and found["others_pct"] is not None:
                share = f"others had {found['others_pct']:.1f} % of the processors"
                also = ": disturbed" if disturbed(one.repetition, self._most_pct) else ""
                say(f"{one.name}, repetition {i + 1}: {share}{also}")
        return done

    def _is_time_for(self, again: Sequence[Done]) -> bool:
        needed_s = sum(budget.took_s(one.repetition) for one in again)
        return needed_s <= budget.SHARE * (self._end - time.monotonic())


def measured(
    job: SessionJob, workloads: Mapping[str, Measured], end: float, sustained_s: float = 0.0
) -> list[Arm]:
    """A session's warm-up, then every repetition of every workload in a random order, so that drift
    and heat hit all alike; the order of those that count.

    Args:
        end: on the monotonic clock, of the session.
        sustained_s: what comes behind takes so long.
    """
    each_s = {name: job["workloads"][name]["timeout_s"] for name in workloads}
    left_s = budget.SHARE * (end - time.monotonic())
    for name, workload in workloads.items():
        workload.warm_up(left_s * each_s[name] / sum(each_s.values()))
    every = [arm for workload in workloads.values() for arm in workload.arms()]
    order = random.Random(f"llmpi order {job['what']}").sample(every, len(every))
    return Rounds(workloads, job["others_at_most_pct"], end - sustained_s).through(order)
