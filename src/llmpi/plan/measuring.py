"""How long measuring a session takes, and what of it there is no time for.

What the device does is planned as it does it (`llmpi.device.measure.budget`), from predicted rates
in place of the paces that it finds. The rest after a warm-up, cooling down and the parts of loading
that are not reading are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from llmpi.device.measure.budget import SHARE, Effort, Pace, affordable, needed_s
from llmpi.plan.predict import Prediction
from llmpi.plan.presets import Board, Range
from llmpi.study.measuring import AnyWorkload, ConversationWorkload, Workload


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
    found: Prediction,
    board: Board,
    idle_s: float,
    search_s: float,
) -> Measuring:
    """What a session takes; nothing where it dies.

    Args:
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
        parts = tuple(_parts(workloads, before_s, pp_tps, tg_tps))
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
            yield Talk(name, *(Range(*(n / tps for tps in reversed(pp_tps))) for n in counts))


def _parts(
    workloads: Mapping[str, AnyWorkload], before_s: float, pp_tps: float, tg_tps: float
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
        if isinstance(asked, ConversationWorkload):
            for prefix in asked.prefix:  # saving and restoring are left out
                prompts = sum(asked.computed_tokens(prefix))
                paces = [Pace(prompts / pp_tps, asked.turns / tg_tps)]
                yield _planned(name, None, asked, paces, had_s / len(asked.prefix))
            continue
        for count in asked.conversations:  # as if side by side gained nothing, which is the most
            prompts = asked.system_tokens + count * asked.prompt_tokens
            paces = [Pace(prompts / pp_tps, count / tg_tps)]
            yield _planned(name, count, asked, paces, had_s / len(asked.conversations))


def _planned(
    name: str, count: int | None, asked: AnyWorkload, paces: list[Pace], had_s: float
) -> Planned:
    whole = Effort(asked.output_tokens, asked.repetitions, asked.warmup, asked.warmup_limit)
    effort = affordable(whole, paces, had_s)
    at_once = replace(effort, warmup_limit=effort.warmup)  # as it goes where all is steady
    asked_s = needed_s(whole, paces)
    shares = _shares(asked)
    enough_s = asked.timeout_s + shares * max(0.0, asked_s - had_s) / SHARE
    return Planned(name, count, whole, effort, asked_s, needed_s(at_once, paces), had_s, enough_s)


def _shares(asked: AnyWorkload) -> int:
    """Into so many parts its time is divided."""
    if isinstance(asked, Workload):
        return 1
    return len(asked.prefix if isinstance(asked, ConversationWorkload) else asked.conversations)
