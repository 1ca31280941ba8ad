"""How long measuring a session takes, and what of it there is no time for.

What the device does is planned as it does it (`llmpi.device.measure.budget`), from predicted rates
in place of the paces that it finds. The rest after a warm-up, cooling down and the parts of loading
that are not reading are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from llmpi.device.measure.budget import SHARE, Effort, Pace, affordable, needed_s
from llmpi.plan.asked import Asked
from llmpi.plan.predict import Prediction
from llmpi.plan.presets import Board, Range
from llmpi.study.measuring import (
    AnswersWorkload,
    AnyWorkload,
    ConcurrentWorkload,
    ConversationWorkload,
    Workload,
)

Repeated = Workload | ConcurrentWorkload | ConversationWorkload
"""Those that do the same each time."""


class Planned(NamedTuple):
    """A workload, or one number of its conversations, and what of it there is time for."""

    workload: str
    conversations: int | None
    asked: Effort
    effort: Effort
    """What is likely done of it."""
    asked_s: float
    effort_s: float
    had_s: float
    enough_s: float
    """The workload's `timeout_s` with which all of it would be done."""

    @property
    def whole(self) -> bool:
        """Whether all of it is likely done in time."""
        return self.effort == self.asked and not self.late

    @property
    def late(self) -> bool:
        """Whether even that would be stopped by its limit."""
        return self.effort_s > self.had_s / SHARE


class Talk(NamedTuple):
    """Of a conversation, seconds to the first token: of its first turn, and of its last one with
    the prefix kept and with all of it computed again."""

    workload: str
    first_s: Range
    kept_s: Range
    computed_s: Range
    saved_bytes: int
    """On the device's storage, at most; 0 where nothing is restored from there."""


class Measuring(NamedTuple):
    """Of a session: its seconds, and what of it is shortened at the likely speed; or neither."""

    seconds: Range | None = None
    shortened: tuple[Planned, ...] = ()
    talks: tuple[Talk, ...] = ()

    @property
    def late(self) -> bool:
        """Whether it would be stopped by its limit."""
        return any(one.late for one in self.shortened)


def measuring(
    workloads: Mapping[str, AnyWorkload],
    asked: Mapping[str, Asked],
    found: Prediction,
    board: Board,
    idle_s: float,
    search_s: float,
) -> Measuring:
    """What a session takes; nothing where it dies.

    Args:
        asked: of each workload, what it asks.
        idle_s: the rest before it.
        search_s: what a search of settings may take before it, which has a limit of its own.
    """
    if found.fit == "dies":
        return Measuring()
    seconds: list[float] = []
    likely: tuple[Planned, ...] = ()
    for i in (2, 1, 0):  # the highest speed takes the least time
        tg_tps = found.tg_tps[i]
        pp_tps = found.pp_tps[i] if found.pp_tps else tg_tps
        before_s = idle_s + 2 * found.file_bytes / board.storage_bytes_per_s[i]
        total = search_s + before_s
        parts = tuple(_parts(workloads, asked, before_s, pp_tps, tg_tps))
        total += sum(part.effort_s for part in parts)
        total += sum(w.sustained_s for w in workloads.values() if isinstance(w, Workload))
        seconds.append(total)
        if i == 1:
            likely = tuple(part for part in parts if not part.whole)
    return Measuring(Range(*seconds), likely, tuple(_talks(workloads, found)))


def _talks(workloads: Mapping[str, AnyWorkload], found: Prediction) -> Iterator[Talk]:
    for name, asked in workloads.items():
        if isinstance(asked, ConversationWorkload) and (pp_tps := found.pp_tps):
            kept, computed = asked.computed_tokens("kept"), asked.computed_tokens("computed")
            counts = (kept[0], kept[-1], computed[-1])
            first, last, again = (_wait_s(count, pp_tps, found.tg_tps) for count in counts)
            saved_bytes = found.kv_cache_bytes if "restored" in asked.prefix else 0
            yield Talk(name, first, last, again, saved_bytes)


def _wait_s(tokens: int, pp_tps: Range, tg_tps: Range) -> Range:
    """Of a prompt; not less than a token takes, for which all weights are read, too."""
    rates = zip(reversed(pp_tps), reversed(tg_tps), strict=True)
    return Range(*(max(tokens / pp, 1 / tg) for pp, tg in rates))


def _parts(
    workloads: Mapping[str, AnyWorkload],
    tokens: Mapping[str, Asked],
    before_s: float,
    pp_tps: float,
    tg_tps: float,
) -> Iterator[Planned]:
    """Every workload, or each number of conversations, with what it has time for."""
    timeout_s = sum(asked.timeout_s for asked in workloads.values())
    left_s = SHARE * max(0.0, timeout_s - before_s)
    for name, asked in workloads.items():
        had_s = left_s * asked.timeout_s / timeout_s
        if isinstance(asked, Workload):
            paces = [Pace(n / pp_tps, 1 / tg_tps) for n in (asked.prompt_tokens, *asked.depths)]
            yield _planned(name, None, asked, paces, had_s - asked.sustained_s)
            continue
        if isinstance(asked, AnswersWorkload):
            yield _answered(name, asked, tokens[name], had_s, Pace(1 / pp_tps, 1 / tg_tps))
            continue
        if isinstance(asked, ConversationWorkload):
            yield _planned(name, None, asked, [_pace(asked, pp_tps, tg_tps)], had_s)
            continue
        for count in asked.conversations:  # as if side by side gained nothing, which is the most
            prompts = asked.system_tokens + count * asked.prompt_tokens
            paces = [Pace(prompts / pp_tps, count / tg_tps)]
            yield _planned(name, count, asked, paces, had_s / len(asked.conversations))


def _answered(
    name: str, asked: AnswersWorkload, tokens: Asked, had_s: float, pace: Pace
) -> Planned:
    """Questions, one of them as a warm-up; each repetition is one, and what there is no time for
    is left out.

    Args:
        pace: of a token of a prompt, and of an answer.
    """
    output = tokens.needed_tokens - tokens.prompt_tokens
    each_s = Pace(tokens.prompt_tokens * pace.prompt_s, pace.token_s).seconds(output)
    whole = Effort(output, asked.questions * asked.repetitions, 1, 1)
    fit = min(whole.repetitions, max(1, int(had_s / each_s) - 1))
    asked_s, effort_s = ((1 + count) * each_s for count in (whole.repetitions, fit))
    enough_s = asked.timeout_s + max(0.0, asked_s - had_s) / SHARE
    return Planned(
        name, None, whole, replace(whole, repetitions=fit), asked_s, effort_s, had_s, enough_s
    )


def _planned(
    name: str, count: int | None, asked: Repeated, paces: list[Pace], had_s: float
) -> Planned:
    whole = Effort(asked.output_tokens, asked.repetitions, asked.warmup, asked.warmup_limit)
    effort = affordable(whole, paces, had_s)
    at_once = replace(effort, warmup_limit=effort.warmup)  # as it goes where all is steady
    asked_s = needed_s(whole, paces)
    shares = len(asked.conversations) if isinstance(asked, ConcurrentWorkload) else 1
    enough_s = asked.timeout_s + shares * max(0.0, asked_s - had_s) / SHARE
    return Planned(name, count, whole, effort, asked_s, needed_s(at_once, paces), had_s, enough_s)


def _pace(asked: ConversationWorkload, pp_tps: float, tg_tps: float) -> Pace:
    """Of a conversation with each prefix, one behind the other; saving and restoring are left out.
    Prompts that are computed again grow with the answers."""
    prompts_s = answers_s = 0.0
    for prefix in asked.prefix:
        none, one = (asked.computed_tokens(prefix, output) for output in (0, 1))
        prompts_s += sum(max(count / pp_tps, 1 / tg_tps) for count in none) + asked.pauses_s
        answers_s += asked.turns / tg_tps + (sum(one) - sum(none)) / pp_tps
    return Pace(prompts_s, answers_s)
