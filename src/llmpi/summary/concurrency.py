"""Conversations side by side: what each concurrent cell of a study gave, by their number."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from llmpi.device.machine.energy import tokens_per_joule
from llmpi.records import Record, is_ok
from llmpi.study.measuring import ConcurrentWorkload
from llmpi.study.runs import Run, Session, expand_runs
from llmpi.study.study import Study

Row = dict[str, Any]


def concurrency(
    study: Study, records: Callable[[Session], Record], rows: Sequence[Row]
) -> list[Record]:
    """A study's concurrent cells.

    Args:
        records: the record of a session.
        rows: of the cells of one conversation, see `llmpi.summary.study.row`.

    Returns:
        For each cell where it stands (`device`, `model`, `quant`, `runtime`, `workload`), `status`,
        `reason`, its `settings`, `levels` (see `_level`), `largest` (the largest number of
        conversations without a mark that each get `per_user_tps_at_least`; None if none does, or
        nothing is asked for), and `single`: `workload`, `tg_tps` and `tpj_board` of the session's
        first cell of one conversation that was measured, or None.
    """
    singles: dict[Session, Row] = {}
    for row in rows:
        if is_ok(row):
            singles.setdefault(Session(*(row[key] for key in Session._fields)), row)
    return [
        _cell(run, study.workloads[run.workload], records(run.session), singles.get(run.session))
        for run in expand_runs(study)
        if isinstance(study.workloads[run.workload], ConcurrentWorkload)
    ]


def _cell(run: Run, asked: Any, session: Record, single: Row | None) -> Record:
    cell = {**session, **session.get("workloads", {}).get(run.workload, {})}
    levels = [_level(level, asked) for level in cell.get("levels", [])]
    able = [level["conversations"] for level in levels if level["meets"] and not level["marks"]]
    return {
        **run._asdict(),
        "status": cell["status"],
        "reason": cell.get("reason"),
        "settings": asked.model_dump(mode="json"),
        "levels": levels,
        "largest": max(able, default=None),
        "single": single and {key: single[key] for key in ("workload", "tg_tps", "tpj_board")},
    }


def _level(level: Record, asked: ConcurrentWorkload) -> Row:
    """One number of conversations; None where there is no such value.

    `tg_tps` and `pp_tps` are of all conversations together, `per_user_tps` is each one's share:
    medians over the repetitions, `tg` with its least and greatest. `ttft_s` is the median over all
    conversations, `ttft_max_s` the median over the repetitions of the last one's.
    """
    count = level["conversations"]
    row: Row = dict.fromkeys(LEVEL)
    row |= {key: level[key] for key in ("conversations", "status", "reason")}
    if not is_ok(level):
        return row
    done = level["repetitions"]
    tg = [count * len(r["itl_s"]) / sum(r["itl_s"]) for r in done]
    per_user_tps = statistics.median(tg) / count
    least_tps = asked.per_user_tps_at_least
    return row | {
        "tg_tps": statistics.median(tg),
        "tg_min_tps": min(tg),
        "tg_max_tps": max(tg),
        "per_user_tps": per_user_tps,
        "meets": None if least_tps is None else per_user_tps >= least_tps,
        "pp_tps": statistics.median(count * asked.prompt_tokens / r["pp_s"] for r in done),
        "ttft_s": statistics.median(s for r in done for s in r["ttft_each_s"]),
        "ttft_max_s": statistics.median(r["ttft_s"] for r in done),
        "system_s": statistics.median(r["system_s"] for r in done) if asked.system_tokens else None,
        "context_tokens": level["context_tokens"],
        "kv_bytes": level["kv_bytes"],
        "peak_rss_bytes": level["memory"]["peak_rss_bytes"],
        "marks": "; ".join(level["marks"]),
        **_energy(level.get("energy"), statistics.median(tg)),
    }


LEVEL = (
    "conversations",
    "status",
    "reason",
    "tg_tps",
    "tg_min_tps",
    "tg_max_tps",
    "per_user_tps",
    "meets",
    "pp_tps",
    "ttft_s",
    "ttft_max_s",
    "system_s",
    "context_tokens",
    "kv_bytes",
    "peak_rss_bytes",
    "marks",
    "energy_tier",
    "tg_power_w",
    "tg_j_per_token",
    "tg_uncertainty_j_per_token",
    "tpj_board",
    "tpj_above_idle",
)


def _energy(energy: Record | None, tg_tps: float) -> Row:
    if energy is None or not is_ok(energy):
        return {}
    tg, idle_power_w = energy["tg"], energy["idle_power_w"]
    above_idle = None
    if idle_power_w is not None:
        above_idle = tokens_per_joule(tg_tps, tg["power_w"], idle_power_w)
    return {
        "energy_tier": energy["tier"],
        "tg_power_w": tg["power_w"],
        "tg_j_per_token": tg["j_per_token"],
        "tg_uncertainty_j_per_token": tg["uncertainty_j_per_token"],
        "tpj_board": tokens_per_joule(tg_tps, tg["power_w"]),
        "tpj_above_idle": above_idle,
    }
