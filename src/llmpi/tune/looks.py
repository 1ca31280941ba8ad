"""What a setting's turn on the device says: its times, joules and memory, and what it predicts."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from llmpi.engine.records import CooledTurn, Output, Repetition
from llmpi.quality.parity import lumped_kl
from llmpi.tune.records import Agreement, Metric


class Look(NamedTuple):
    """A turn that went well.

    `costs` by workload and metric, seconds or joules, each the median over its repetitions;
    `score`, what is optimized: the weighted mean over the workloads of the natural logarithm of the
    objective's cost, so that differences are ratios and no workload counts more for being long.
    """

    costs: dict[str, dict[Metric, float]]
    score: float
    peak_rss_bytes: int | None
    output: Output | None
    took_s: float


def look(turn: CooledTurn, weights: Mapping[str, float], objective: Metric) -> Look:
    """
    Args:
        weights: of the workloads that count, their sum 1.
    """
    costs = {name: _medians(done) for name, done in turn["workloads"].items()}
    if turn["energy"] and turn["energy"]["status"] == "ok":
        for name, joules in turn["energy"]["energy_j"].items():
            costs[name]["energy"] = median(joules)
    score = sum(weight * math.log(costs[w][objective]) for w, weight in weights.items())
    return Look(costs, score, turn["peak_rss_bytes"], turn["output"], turn["took_s"])


def agreement(base: Output, other: Output) -> Agreement:
    """How far what is predicted changes with a setting."""
    pairs = list(zip(base["positions"], other["positions"], strict=True))
    return {
        "top1_pct": 100 * fmean(a["tokens"][0] == b["tokens"][0] for a, b in pairs),
        "kl_nats": max(0.0, fmean(lumped_kl(a, b) for a, b in pairs)),
        "identical": base["sha256"] == other["sha256"],
        "positions": len(pairs),
    }


def _medians(repetitions: Sequence[Repetition]) -> dict[Metric, float]:
    columns: dict[Metric, list[float]] = {
        "pp": [r["pp_s"] for r in repetitions],
        "tg": [sum(r["itl_s"]) for r in repetitions],
        "ttft": [r["ttft_s"] for r in repetitions],
        "total": [r["ttft_s"] + sum(r["itl_s"]) for r in repetitions],
    }
    return {metric: median(times) for metric, times in columns.items()}
