"""What was measured of a study, level by level: a value for each repetition."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llmpi.compare.measured import Measured
from llmpi.compare.records import Quantity
from llmpi.engine.records import (
    ConcurrentRepetition,
    Energy,
    Mark,
    MeasuredLevel,
    MeasuredPrefix,
    Prefix,
    Repetition,
    SingleCell,
)
from llmpi.study.runs import Run
from llmpi.summary.measured import concurrent, conversation, single


class Level(NamedTuple):
    """A cell, so many conversations of one, or one with that done with its prefix."""

    run: Run
    conversations: int | None = None
    prefix: Prefix | None = None


@dataclass(frozen=True)
class Values:
    """What was measured of a level: of each quantity, a value for each repetition."""

    of: Mapping[Quantity, Sequence[float]]
    tier: str | None
    """Of its energy; other tiers are never held against it."""
    marks: Sequence[Mark]
    output: Sequence[int]
    gguf_sha256: str


def levels(study: Measured) -> dict[Level, Values]:
    """All that gave numbers."""
    found: dict[Level, Values] = {}
    for run in runs(study):
        session = study.sessions[run.session]
        file = session.get("gguf_sha256", "")
        one, several = single(session, run.workload), concurrent(session, run.workload)
        talk = conversation(session, run.workload)
        if not isinstance(one, dict):
            found[Level(run)] = _of_single(one.cell, file)
        elif talk["status"] == "ok":
            for part in talk["prefixes"]:
                if part["status"] == "ok":
                    found[Level(run, prefix=part["prefix"])] = _of_prefix(part, file)
        elif several["status"] == "ok":
            for level in several["levels"]:
                if level["status"] == "ok":
                    prompts = level["conversations"] * several["workload"]["prompt_tokens"]
                    found[Level(run, level["conversations"])] = _of_level(level, prompts, file)
    return found


def runs(study: Measured) -> Iterator[Run]:
    for session, record in study.sessions.items():
        for workload in record.get("workloads", {}):
            yield Run(*session, workload)


def _of_single(cell: SingleCell, file: str) -> Values:
    speeds = _speeds(cell["repetitions"], cell["workload"]["prompt_tokens"], 1)
    joules, tier = _joules(cell["energy"])
    return Values({**speeds, **joules}, tier, cell["marks"], cell["output"], file)


def _of_level(level: MeasuredLevel, prompt_tokens: int, file: str) -> Values:
    speeds = _speeds(level["repetitions"], prompt_tokens, level["conversations"])
    joules, tier = _joules(level["energy"])
    return Values({**speeds, **joules}, tier, level["marks"], (), file)


def _of_prefix(part: MeasuredPrefix, file: str) -> Values:
    """Of each conversation with all its turns; what restores a prefix is of its prompts' time."""
    talks = [repetition["turns"] for repetition in part["repetitions"]]
    answers = [[seconds for turn in turns for seconds in turn["itl_s"]] for turns in talks]
    speeds: dict[Quantity, Sequence[float]] = {
        "tg_tps": [len(itl) / sum(itl) for itl in answers],
        "pp_tps": [
            sum(turn["prompt_tokens"] for turn in turns) / sum(turn["pp_s"] for turn in turns)
            for turns in talks
        ],
    }
    joules, tier = _joules(part["energy"])
    count = len(talks[0])
    each: dict[Quantity, Sequence[float]] = {
        quantity: [statistics.fmean(values[at : at + count]) for at in range(0, len(values), count)]
        for quantity, values in joules.items()
    }
    return Values({**speeds, **each}, tier, part["marks"], (), file)


def _speeds(
    repetitions: Sequence[Repetition] | Sequence[ConcurrentRepetition],
    prompt_tokens: int,
    conversations: int,
) -> dict[Quantity, Sequence[float]]:
    return {
        "tg_tps": [conversations * len(r["itl_s"]) / sum(r["itl_s"]) for r in repetitions],
        "pp_tps": [prompt_tokens / r["pp_s"] for r in repetitions],
    }


def _joules(energy: Energy | None) -> tuple[dict[Quantity, Sequence[float]], str | None]:
    """Of each repetition's tokens, so that their mean is the record's."""
    if energy is None or energy["status"] != "ok":
        return {}, None
    tg, each = energy["tg"], energy["tg"]["energy_j"]
    if sum(each) <= 0:
        return {}, None
    mean = sum(each) / len(each)
    return {"tg_j_per_token": [tg["j_per_token"] * joules / mean for joules in each]}, energy[
        "tier"
    ]
