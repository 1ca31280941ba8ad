"""Conversations of several turns: what was done with the prefix, and what each cell gave so."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from llmpi.engine import records
from llmpi.engine.records import (
    ConversationTurn,
    ConversationWorkload,
    Energy,
    Failed,
    LostPrefix,
    MeasuredPrefix,
    SessionRecord,
)
from llmpi.results import NotRun
from llmpi.study import measuring
from llmpi.study.runs import Run, Session, expand_runs
from llmpi.study.study import Study
from llmpi.summary.measured import conversation
from llmpi.summary.records import ConversationCell, Way
from llmpi.summary.row import memory_bytes, place


def conversations(
    study: Study, sessions: Mapping[Session, SessionRecord | NotRun]
) -> list[ConversationCell]:
    """A study's cells of several turns."""
    return [
        _cell(run, asked, conversation(sessions[run.session], run.workload))
        for run in expand_runs(study)
        if isinstance(asked := study.workloads[run.workload], measuring.ConversationWorkload)
    ]


def _cell(
    run: Run,
    asked: measuring.ConversationWorkload,
    found: records.ConversationCell | Failed | NotRun,
) -> ConversationCell:
    well = found if found["status"] == "ok" else None
    return {
        **place(run),
        "status": found["status"],
        "reason": None if found["status"] == "ok" else found["reason"],
        "settings": _settings(asked),
        "can_cut_back": well and well["can_cut_back"],
        "ways": [_way(part) for part in well["prefixes"]] if well else [],
    }


def _settings(asked: measuring.ConversationWorkload) -> ConversationWorkload:
    return {
        "kind": "conversation",
        "repetitions": asked.repetitions,
        "warmup": asked.warmup,
        "warmup_limit": asked.warmup_limit,
        "sampling": asked.sampling,
        "timeout_s": asked.timeout_s,
        "system_tokens": asked.system_tokens,
        "turns": asked.turns,
        "prompt_tokens": asked.prompt_tokens,
        "output_tokens": asked.output_tokens,
        "pause_s": asked.pause_s,
        "prefix": asked.prefix,
    }


def _way(part: MeasuredPrefix | LostPrefix) -> Way:
    if part["status"] != "ok":
        return {**LOST, "prefix": part["prefix"], "status": "failed", "reason": part["reason"]}
    talks = [repetition["turns"] for repetition in part["repetitions"]]
    firsts = [turns[0] for turns in talks]
    later = [turn for turns in talks for turn in turns[1:]]
    restored = [s for turn in later if (s := turn["restore_s"]) is not None]
    saved = [s for turns in talks for turn in turns if (s := turn["save_s"]) is not None]
    sizes = [size for one in part["repetitions"] if (size := one["state_bytes"]) is not None]
    itl = [seconds for turns in talks for turn in turns for seconds in turn["itl_s"]]
    first_j, later_j = _joules(part["energy"], len(talks[0]))
    return {
        "prefix": part["prefix"],
        "status": "ok",
        "reason": None,
        "ttft_s": [_median(same, _ttft_s) for same in zip(*talks, strict=True)],
        "first_ttft_s": _median(firsts, _ttft_s),
        "later_ttft_s": _median(later, _ttft_s),
        "first_s": _median(firsts, _answered_s),
        "later_s": _median(later, _answered_s),
        "restore_s": statistics.median(restored) if restored else None,
        "save_s": statistics.median(saved) if saved else None,
        "state_bytes": max(sizes, default=None),
        "tg_tps": len(itl) / sum(itl),
        "energy_tier": part["energy"]["tier"] if part["energy"] else None,
        "first_j": first_j,
        "later_j": later_j,
        "memory_bytes": memory_bytes(part["memory"]),
        "marks": part["marks"],
    }


LOST: Way = {
    "prefix": "kept",
    "status": "failed",
    "reason": None,
    "ttft_s": [],
    "first_ttft_s": None,
    "later_ttft_s": None,
    "first_s": None,
    "later_s": None,
    "restore_s": None,
    "save_s": None,
    "state_bytes": None,
    "tg_tps": None,
    "energy_tier": None,
    "first_j": None,
    "later_j": None,
    "memory_bytes": None,
    "marks": [],
}
"""What is not known of what gave no numbers."""


def _median(turns: Sequence[ConversationTurn], value: Callable[[ConversationTurn], float]) -> float:
    return statistics.median(map(value, turns))


def _ttft_s(turn: ConversationTurn) -> float:
    return turn["ttft_s"]


def _answered_s(turn: ConversationTurn) -> float:
    return turn["ttft_s"] + sum(turn["itl_s"])


def _joules(energy: Energy | None, turns: int) -> tuple[float | None, float | None]:
    """Of the first turn of a conversation and of a later one, on the average."""
    if energy is None or energy["status"] != "ok":
        return None, None
    pairs = zip(energy["pp"]["energy_j"], energy["tg"]["energy_j"], strict=True)
    each = [prompt_j + answer_j for prompt_j, answer_j in pairs]
    later = [joules for number, joules in enumerate(each) if number % turns]
    return statistics.fmean(each[::turns]), statistics.fmean(later)
