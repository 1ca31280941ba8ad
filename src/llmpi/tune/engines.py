"""Engines held against the first of them, in blocks in which each has its turn.

A block gives every engine one turn in a random order, shortly after one another: heat and drift
touch them alike, and only differences within a block are looked at, as in a search for settings.
"""

import logging
import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from llmpi.device.machine import environment
from llmpi.device.machine.contention import disturbed
from llmpi.device.records import TurnRequest
from llmpi.engine.records import CooledTurn, FailedTurn, Mark, Runtime, Turns
from llmpi.errors import CellError
from llmpi.quality.agreement import KL_AT_MOST_NATS, TOP1_AT_LEAST_PCT
from llmpi.tune.interval import Interval, signed_rank_interval
from llmpi.tune.looks import Look, agreement, look
from llmpi.tune.records import (
    EngineBlock,
    EngineFigure,
    EngineMetric,
    EngineParity,
    EngineVerdict,
    HeldEngines,
)

log = logging.getLogger(__name__)

ERROR = 0.05
"""Probability that any figure of engines that are equal is told apart."""
BLOCKS = 10
"""At least; more where so few could not show anything of so many figures."""
METRICS: Sequence[EngineMetric] = ("pp", "tg")

Seen = Mapping[str, Look]
"""Of a block: engine -> how its turn was; without those that died."""


def blocks_for(figures: int) -> int:
    """So many blocks that each of so many figures can be told apart, the error shared by all."""
    return max(BLOCKS, math.ceil(math.log2(2 * figures / ERROR)))


def hold_engines(
    engines: Mapping[str, str | None],
    runtime: Runtime,
    workloads: Collection[str],
    measure: Callable[[list[TurnRequest]], Turns],
    others_at_most_pct: float,
    seed: str,
) -> HeldEngines:
    """Measure all, and say of each whether it is slower or faster than the first.

    The intervals are those of Wilcoxon's signed-rank test on the blocks, and share `ERROR`
    (Bonferroni). With the same answers of `measure` it takes the same course.

    Args:
        engines: by name, the folder of each; None for the one that is installed.
        workloads: ids.
        measure: has a block measured.
        others_at_most_pct: what other programs may have of the processors.
        seed: of all random orders.

    Raises:
        CellError: the first died, which the others are held against.
    """
    first, *others = engines
    figures = len(others) * len(workloads) * len(METRICS)
    looks: list[Seen] = []
    blocks: list[EngineBlock] = []
    died: dict[str, str] = {}
    marks: set[Mark] = set()
    for number in range(blocks_for(figures)):
        alive = [name for name in engines if name not in died]
        order = random.Random(f"llmpi engines {seed} {number}").sample(alive, len(alive))
        answer = measure([_turn(engines[name], runtime, check=number == 0) for name in order])
        turns = dict(zip(order, answer["turns"], strict=True))
        died |= {name: turn["reason"] for name, turn in turns.items() if turn["status"] == "failed"}
        if first in died:
            raise CellError(f"engine {first}, which others are held against, died: {died[first]}")
        marks |= set(_marks(answer, others_at_most_pct))
        seen = _seen(turns, workloads)
        looks.append(seen)
        blocks.append(_block(turns, seen, answer))
        if len(died) == len(others):
            break
    return {
        "first": first,
        "held": [
            {
                "engine": name,
                "reason": died.get(name),
                "figures": []
                if name in died
                else [*_figures(name, first, workloads, looks, ERROR / figures)],
                **_parity(looks[0].get(first), looks[0].get(name)),
            }
            for name in others
        ],
        "confidence_pct": 100 * (1 - ERROR),
        "marks": sorted(marks),
        "blocks": blocks,
    }


def _turn(folder: str | None, runtime: Runtime, *, check: bool) -> TurnRequest:
    asked: TurnRequest = {"runtime": runtime, "check": check, "timeout_s": None}
    return asked if folder is None else {**asked, "engine": folder}


def _seen(
    turns: Mapping[str, CooledTurn | FailedTurn], workloads: Collection[str]
) -> dict[str, Look]:
    weights = dict.fromkeys(workloads, 1 / len(workloads))
    return {
        name: look(turn, weights, "total") for name, turn in turns.items() if turn["status"] == "ok"
    }


def _marks(answer: Turns, others_at_most_pct: float) -> Iterator[Mark]:
    if environment.throttled_meanwhile(answer["before"], answer["after"]):
        yield "throttled"
    done = [
        repetition
        for turn in answer["turns"]
        if turn["status"] == "ok"
        for repetitions in turn["workloads"].values()
        for repetition in repetitions
    ]
    if any(disturbed(repetition, others_at_most_pct) for repetition in done):
        yield "disturbed"


def _block(turns: Mapping[str, CooledTurn | FailedTurn], seen: Seen, answer: Turns) -> EngineBlock:
    return {
        "turns": [
            {
                "engine": name,
                "costs": seen[name].costs if name in seen else None,
                "peak_rss_bytes": seen[name].peak_rss_bytes if name in seen else None,
                "reason": turn["reason"] if turn["status"] == "failed" else None,
                "cooled": turn["cooled"],
            }
            for name, turn in turns.items()
        ],
        "before": answer["before"],
        "after": answer["after"],
        "took_s": answer["took_s"],
    }


def _parity(first: Look | None, other: Look | None) -> EngineParity:
    """Of the first block, in which all were asked for it."""
    if not (first and first.output and other and other.output):
        return {"agreement": None, "same_model": None}
    found = agreement(first.output, other.output)
    alike = found["top1_pct"] >= TOP1_AT_LEAST_PCT and found["kl_nats"] <= KL_AT_MOST_NATS
    return {"agreement": found, "same_model": alike}


def _figures(
    name: str, first: str, workloads: Collection[str], looks: Sequence[Seen], error: float
) -> Iterator[EngineFigure]:
    for workload in workloads:
        for metric in METRICS:
            gains = [
                math.log(seen[first].costs[workload][metric])
                - math.log(seen[name].costs[workload][metric])
                for seen in looks
            ]
            gain = Interval(*(100 * math.expm1(x) for x in signed_rank_interval(gains, error)))
            yield {
                "workload": workload,
                "metric": metric,
                "change_pct": gain.middle,
                "low_pct": gain.low,
                "high_pct": gain.high,
                "verdict": _verdict(gain),
            }


def _verdict(gain: Interval) -> EngineVerdict:
    if gain.high < 0:
        return "slower"
    return "faster" if gain.low > 0 else "not told apart"
