"""A workload of one conversation: its warm-up, its repetitions, and what was measured of it so far,
whoever answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from llmpi.device.measure.budget import Pace, effort_of, fitted, pace_of, told
from llmpi.engine.progress import say
from llmpi.engine.records import (
    Arm,
    ConcurrentRepetition,
    Memory,
    Repetition,
    Shortened,
    SingleCell,
    SingleWorkload,
)

STEADY_WITHIN = 0.03


class Repeated(ABC):
    """
    Args:
        name: the workload's id.
        memory: what it needs, as far as that is known.
    """

    def __init__(self, name: str, asked: SingleWorkload, memory: Memory) -> None:
        self.name = name
        self._asked, self._memory = asked, memory
        self._effort = effort_of(asked)
        self._shortened: Shortened | None = None
        self._output: list[int] = []
        self._warmup: list[Repetition] = []
        self._done: dict[int | None, list[Repetition]] = {None: []}
        self._done |= {depth: [] for depth in asked["depths"]}
        self._set_aside: list[Repetition] = []
        self._sustained: list[tuple[float, float]] = []

    @abstractmethod
    def _once(self, depth: int | None, tokens: int | None = None) -> Repetition:
        """One repetition behind `depth` tokens or the workload's own prompt; of so many tokens,
        where not all are wanted."""

    def arms(self) -> list[tuple[str, Arm]]:
        """What is to be repeated: (name, None) for the workload itself, (name, depth) behind it."""
        once: list[tuple[str, Arm]] = [(self.name, depth) for depth in self._done]
        return once * self._effort.repetitions

    def warm_up(self, seconds: float) -> None:
        """Until two repetitions in a row agree, within the bounds the workload sets.

        Args:
            seconds: what it may take with all that follows; a slow one does less.
        """
        pace = pace_of(self._first())
        per_token_s = pace.prompt_s / self._asked["prompt_tokens"]
        behind = [Pace(depth * per_token_s, pace.token_s) for depth in self._asked["depths"]]
        left_s = seconds - self._asked["sustained_s"]
        self._effort, self._shortened = fitted(self._effort, [pace, *behind], left_s)
        if self._shortened:
            say(f"{self.name}: {told(self._shortened)}")
        least, limit = self._effort.warmup, self._effort.warmup_limit
        while len(self._warmup) < least or (
            self._warmup and len(self._warmup) < limit and not steady(self._warmup)
        ):
            self._warmup.append(self._once(None))
            say(f"{self.name}: warm-up {len(self._warmup)}: {self._rates(self._warmup[-1], None)}")

    def _first(self) -> Repetition:
        """The very first one, which tells the pace."""
        return self._once(None, tokens=1)

    def repeat(self, depth: int | None, progress: str) -> Repetition:
        """One counted repetition, behind `depth` tokens or the workload's own prompt."""
        done = self._once(depth)
        self._done[depth].append(done)
        behind = "" if depth is None else f" behind {depth} tokens"
        say(f"[{progress}] {self.name}{behind}: {self._rates(done, depth)}")
        return done

    def set_aside(self, depth: int | None, repetition: Repetition) -> None:
        """It does not count any more."""
        self._done[depth].remove(repetition)
        self._set_aside.append(repetition)

    def record(self) -> SingleCell:
        """What was measured."""
        return {
            "status": "ok",
            "kind": "single",
            "workload": self._asked,
            "apart": None,
            "context_tokens": context_tokens(self._asked),
            "warmup": self._warmup,
            "steady": steady(self._warmup),
            "shortened": self._shortened,
            "repetitions": self._done[None],
            "set_aside": self._set_aside,
            "depths": [
                {"depth_tokens": depth, "repetitions": done}
                for depth, done in self._done.items()
                if depth is not None
            ],
            "sustained": self._sustained,
            "memory": self._memory,
            "output": self._output,
            "marks": [],
            "energy": None,
        }

    def _rates(self, repetition: Repetition, depth: int | None) -> str:
        itl = repetition["itl_s"]
        pp_tps = (depth or self._asked["prompt_tokens"]) / repetition["pp_s"]
        return f"pp {pp_tps:.1f} t/s, tg {len(itl) / sum(itl):.1f} t/s"


def context_tokens(asked: SingleWorkload) -> int:
    """Tokens of context a workload needs, or asks for."""
    longest = max(asked["prompt_tokens"], *asked["depths"], 0) + asked["output_tokens"]
    return asked["context_tokens"] or longest


def steady(warmup: Sequence[Repetition] | Sequence[ConcurrentRepetition]) -> bool:
    """Whether the last two repetitions of the warm-up agree on tg."""
    return agree([sum(repetition["itl_s"]) for repetition in warmup])


def agree(seconds: Sequence[float]) -> bool:
    """Whether the last two do."""
    if len(seconds) < 2:
        return False
    *_, before, last = seconds
    return abs(last - before) < STEADY_WITHIN * before
