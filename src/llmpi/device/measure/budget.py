"""How much of what is asked for fits into the time that there is.

A model that streams its weights from storage takes half a minute for a token. Fewer repetitions
come first, down to as many as give an interval, then fewer tokens, and in the end one repetition of
a few.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from llmpi.engine.prompted import prompts
from llmpi.engine.records import (
    AnyRepetition,
    ConcurrentRepetition,
    Prompted,
    RepeatedWorkload,
    Repetition,
    Shortened,
)

INTERVAL_REPETITIONS = 5
"""The least and the greatest of five hold the median in 94 of 100 cases."""
LEAST_TOKENS = 8
SHARE = 0.8
"""Of the time that there is, so much is planned: a pace is an estimate."""


@dataclass(frozen=True)
class Effort:
    """Repetitions of everything, the tokens that each generates, and the warm-up before them."""

    output_tokens: int
    repetitions: int
    warmup: int
    warmup_limit: int


@dataclass(frozen=True)
class Pace:
    """Seconds of a prompt and of a generated token behind it."""

    prompt_s: float
    token_s: float

    def seconds(self, tokens: int) -> float:
        """Of a repetition."""
        return self.prompt_s + tokens * self.token_s


def effort_of(asked: RepeatedWorkload) -> Effort:
    """All that a workload asks for."""
    return Effort(
        asked["output_tokens"], asked["repetitions"], asked["warmup"], asked["warmup_limit"]
    )


def pace_of(repetition: Repetition | ConcurrentRepetition) -> Pace:
    itl_s = repetition["itl_s"]
    return Pace(_begin_s(repetition), sum(itl_s) / len(itl_s))


def took_s(repetition: AnyRepetition) -> float:
    """Seconds of all of it; of a conversation with what is between its turns."""
    answers = prompts([repetition])
    seconds = sum(_begin_s(one) + sum(one["itl_s"]) for one in answers)
    if len(answers) < 2:
        return seconds
    return answers[-1]["start_s"] - repetition["start_s"] + took_s(cast(Repetition, answers[-1]))


def _begin_s(repetition: Prompted) -> float:
    """To the first token: of conversations side by side with what all share, computed before."""
    shared_s = cast(float, repetition.get("system_s", 0.0))
    return shared_s + repetition["ttft_s"]


def fitted(asked: Effort, paces: Sequence[Pace], seconds: float) -> tuple[Effort, Shortened | None]:
    """As much as there is time for, and what is to be said of it where that is not all."""
    effort = affordable(asked, paces, seconds)
    if effort == asked:
        return asked, None
    return effort, {
        "output_tokens": effort.output_tokens,
        "repetitions": effort.repetitions,
        "needed_s": needed_s(asked, paces),
        "had_s": seconds,
    }


def told(shortened: Shortened) -> str:
    """In words."""
    return (
        f"all that is asked for would take {shortened['needed_s']:,.0f} s where there are "
        f"{shortened['had_s']:,.0f}: {shortened['repetitions']} repetitions of "
        f"{shortened['output_tokens']} tokens"
    )


def needed_s(effort: Effort, paces: Sequence[Pace]) -> float:
    """At most.

    Args:
        paces: of all that is repeated; the first is what is warmed up with, too.
    """
    warm = max(effort.warmup, effort.warmup_limit) * paces[0].seconds(effort.output_tokens)
    return warm + effort.repetitions * sum(pace.seconds(effort.output_tokens) for pace in paces)


def affordable(asked: Effort, paces: Sequence[Pace], seconds: float) -> Effort:
    """As much of it as fits into so many seconds; one repetition of a few tokens in any case."""
    if needed_s(asked, paces) <= seconds:
        return asked
    warmup = min(asked.warmup, 1)
    short = replace(asked, warmup=warmup, warmup_limit=warmup)
    few = min(asked.repetitions, INTERVAL_REPETITIONS)
    least = min(asked.output_tokens, LEAST_TOKENS)
    for repetitions in range(asked.repetitions, few - 1, -1):
        effort = replace(short, repetitions=repetitions)
        if needed_s(effort, paces) <= seconds:
            return effort
    none = needed_s(replace(short, repetitions=few, output_tokens=0), paces)
    of_a_token = needed_s(replace(short, repetitions=few, output_tokens=1), paces) - none
    tokens = int((seconds - none) / of_a_token)
    if tokens >= least:
        return replace(short, repetitions=few, output_tokens=tokens)
    for repetitions in range(few, 1, -1):
        effort = replace(short, repetitions=repetitions, output_tokens=least)
        if needed_s(effort, paces) <= seconds:
            return effort
    return replace(short, repetitions=1, output_tokens=least)
