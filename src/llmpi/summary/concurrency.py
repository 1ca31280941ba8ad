"""Conversations side by side: what each concurrent cell of a study gave, by their number."""

import statistics
from collections.abc import Mapping, Sequence

from llmpi.device.machine.energy import tokens_per_joule
from llmpi.engine import records
from llmpi.engine.records import Energy, Failed, LostLevel, MeasuredLevel, SessionRecord
from llmpi.results import NotRun
from llmpi.study.measuring import ConcurrentWorkload
from llmpi.study.runs import Run, Session, expand_runs
from llmpi.study.study import Study
from llmpi.summary.measured import concurrent
from llmpi.summary.records import Alone, ConcurrentCell, Level, LevelEnergy, Row
from llmpi.summary.row import mean_tps, memory_bytes, place


def concurrency(
    study: Study, sessions: Mapping[Session, SessionRecord | NotRun], rows: Sequence[Row]
) -> list[ConcurrentCell]:
    """A study's concurrent cells.

    Args:
        rows: of the cells of one conversation.
    """
    alone: dict[Session, Alone] = {}
    for row in (row for row in rows if row["status"] == "ok"):
        session = Session(row["device"], row["model"], row["quant"], row["runtime"])
        shown: Alone = {
            "workload": row["workload"],
            "tg_tps": row["tg_tps"],
            "tpj_board": row["tpj_board"],
        }
        alone.setdefault(session, shown)
    return [
        _cell(run, asked, concurrent(sessions[run.session], run.workload), alone.get(run.session))
        for run in expand_runs(study)
        if isinstance(asked := study.workloads[run.workload], ConcurrentWorkload)
    ]


def _cell(
    run: Run,
    asked: ConcurrentWorkload,
    found: records.ConcurrentCell | Failed | NotRun,
    alone: Alone | None,
) -> ConcurrentCell:
    levels = [_level(level, asked) for level in found["levels"]] if found["status"] == "ok" else []
    able = [level["conversations"] for level in levels if level["meets"] and not level["marks"]]
    return {
        **place(run),
        "status": found["status"],
        "reason": None if found["status"] == "ok" else found["reason"],
        "settings": _settings(asked),
        "levels": levels,
        "largest": max(able, default=None),
        "single": alone,
    }


def _settings(asked: ConcurrentWorkload) -> records.ConcurrentWorkload:
    return {
        "kind": "concurrent",
        "repetitions": asked.repetitions,
        "warmup": asked.warmup,
        "warmup_limit": asked.warmup_limit,
        "sampling": asked.sampling,
        "timeout_s": asked.timeout_s,
        "conversations": asked.conversations,
        "system_tokens": asked.system_tokens,
        "prompt_tokens": asked.prompt_tokens,
        "output_tokens": asked.output_tokens,
        "per_user_tps_at_least": asked.per_user_tps_at_least,
    }


def _level(level: MeasuredLevel | LostLevel, asked: ConcurrentWorkload) -> Level:
    """One number of conversations."""
    if level["status"] != "ok":
        return {**LOST, **level}
    count, done = level["conversations"], level["repetitions"]
    tg = [count * len(r["itl_s"]) / sum(r["itl_s"]) for r in done]
    tg_tps = statistics.median(tg)
    least_tps = asked.per_user_tps_at_least
    return {
        "conversations": count,
        "status": "ok",
        "reason": None,
        "tg_tps": tg_tps,
        "tg_min_tps": min(tg),
        "tg_max_tps": max(tg),
        "per_user_tps": tg_tps / count,
        "meets": None if least_tps is None else tg_tps / count >= least_tps,
        "pp_tps": statistics.median(count * asked.prompt_tokens / r["pp_s"] for r in done),
        "ttft_s": statistics.median(s for r in done for s in r["ttft_each_s"]),
        "ttft_max_s": statistics.median(r["ttft_s"] for r in done),
        "system_s": statistics.median(r["system_s"] for r in done) if asked.system_tokens else None,
        "context_tokens": level["context_tokens"],
        "kv_bytes": level["kv_bytes"],
        "memory_bytes": memory_bytes(level["memory"]),
        "peak_rss_bytes": level["memory"]["peak_rss_bytes"],
        "marks": level["marks"],
        **_energy(level["energy"], count * mean_tps(done)),
    }


NO_ENERGY: LevelEnergy = {
    "energy_tier": None,
    "tg_power_w": None,
    "tg_j_per_token": None,
    "tg_uncertainty_j_per_token": None,
    "tpj_board": None,
    "tpj_above_idle": None,
}
LOST: Level = {
    "conversations": 0,
    "status": "failed",
    "reason": None,
    "tg_tps": None,
    "tg_min_tps": None,
    "tg_max_tps": None,
    "per_user_tps": None,
    "meets": None,
    "pp_tps": None,
    "ttft_s": None,
    "ttft_max_s": None,
    "system_s": None,
    "context_tokens": None,
    "kv_bytes": None,
    "memory_bytes": None,
    "peak_rss_bytes": None,
    "marks": [],
    **NO_ENERGY,
}
"""What is not known of a number of conversations that gave no numbers."""


def _energy(energy: Energy | None, tg_tps: float) -> LevelEnergy:
    """
    Args:
        tg_tps: the mean, as power and joules are.
    """
    if energy is None or energy["status"] != "ok":
        return NO_ENERGY
    tg, idle_w = energy["tg"], energy["idle_power_w"]
    power_w = tg["power_w"]
    return {
        "energy_tier": energy["tier"],
        "tg_power_w": power_w,
        "tg_j_per_token": tg["j_per_token"],
        "tg_uncertainty_j_per_token": tg["uncertainty_j_per_token"],
        "tpj_board": tokens_per_joule(tg_tps, power_w),
        "tpj_above_idle": None if idle_w is None else tokens_per_joule(tg_tps, power_w, idle_w),
    }
