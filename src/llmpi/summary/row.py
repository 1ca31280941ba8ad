"""A cell of the summary: what was measured and scored of one workload of a variant on a device."""

import statistics
from collections.abc import Sequence
from typing import Any

from llmpi.device.machine.energy import tokens_per_joule, words_per_battery
from llmpi.records import Record, is_ok
from llmpi.study.devices import group_of
from llmpi.study.runs import Run
from llmpi.study.study import Study

Row = dict[str, Any]


def row(
    study: Study,
    run: Run,
    bench: Record,
    manifest: Record,
    scores: Row,
    parity: Row,
    objections: Sequence[str],
) -> Row:
    """One cell. Speed as median, least and greatest of the repetitions; units are in the names."""
    no_parity = [f"parity: {parity['parity_reason']}"] if parity["parity_reason"] else []
    return {
        "study": study.study,
        **run._asdict(),
        "group": group_of(study.devices[run.device]),
        "status": bench["status"],
        "stage": bench.get("stage"),
        "reason": bench.get("reason"),
        **_speed(bench),
        **_roofline(bench, manifest),
        **_energy(study, bench),
        **_file(manifest),
        **scores,
        **parity,
        "gates_failed": "; ".join([*no_parity, *objections]),
    }


def _speed(bench: Record) -> Row:
    if not is_ok(bench):
        return dict.fromkeys(SPEED)
    prompt_tokens = bench["workload"]["prompt_tokens"]
    repetitions = bench["repetitions"]
    itl = [seconds for repetition in repetitions for seconds in repetition["itl_s"]]
    cuts = statistics.quantiles(itl, n=100, method="inclusive") if len(itl) > 1 else itl * 99
    return dict(
        zip(
            SPEED,
            (
                *_spread([prompt_tokens / r["pp_s"] for r in repetitions]),
                *_spread([len(r["itl_s"]) / sum(r["itl_s"]) for r in repetitions]),
                len(repetitions),
                statistics.median(r["ttft_s"] for r in repetitions),
                cuts[49],
                cuts[94],
                max(itl),
                bench["load"]["cold_s"],
                bench["load"]["warm_s"],
                bench["memory"]["peak_rss_bytes"],
                bench["memory"]["major_faults"],
                bench["settings"]["threads"],
                bench["context_tokens"],
                _depths(bench),
                _sustained(bench),
                _hottest(bench),
                "; ".join(bench["marks"]),
            ),
            strict=True,
        )
    )


SPEED = (
    "pp_tps",
    "pp_min_tps",
    "pp_max_tps",
    "tg_tps",
    "tg_min_tps",
    "tg_max_tps",
    "repetitions",
    "ttft_s",
    "itl_p50_s",
    "itl_p95_s",
    "itl_max_s",
    "cold_load_s",
    "warm_load_s",
    "peak_rss_bytes",
    "major_faults",
    "threads",
    "context_tokens",
    "tg_at_depths_tps",
    "sustained_first_last_tps",
    "hottest_c",
    "marks",
)


def _energy(study: Study, bench: Record) -> Row:
    """Joules where a meter gave them; else why not."""
    energy = bench.get("energy") if is_ok(bench) else None
    row: Row = dict.fromkeys(ENERGY)
    if energy is None:
        return row
    row |= {"energy_tier": energy["tier"], "energy_reason": energy.get("reason")}
    if not is_ok(energy):
        return row
    tg, idle_power_w = energy["tg"], energy["idle_power_w"]
    tps = _speed(bench)["tg_tps"]
    battery = study.battery
    return row | {
        "idle_power_w": idle_power_w,
        "pp_power_w": energy["pp"]["power_w"],
        "tg_power_w": tg["power_w"],
        "pp_j_per_token": energy["pp"]["j_per_token"],
        "tg_j_per_token": tg["j_per_token"],
        "tg_uncertainty_j_per_token": tg["uncertainty_j_per_token"],
        "tpj_board": tokens_per_joule(tps, tg["power_w"]),
        "tpj_above_idle": (
            None if idle_power_w is None else tokens_per_joule(tps, tg["power_w"], idle_power_w)
        ),
        "words_per_battery": words_per_battery(
            tps, tg["power_w"], battery.wh, battery.tokens_per_word
        ),
    }


ENERGY = (
    "energy_tier",
    "energy_reason",
    "idle_power_w",
    "pp_power_w",
    "tg_power_w",
    "pp_j_per_token",
    "tg_j_per_token",
    "tg_uncertainty_j_per_token",
    "tpj_board",
    "tpj_above_idle",
    "words_per_battery",
)


def _roofline(bench: Record, manifest: Record) -> Row:
    """tg as a share of what the memory delivers: weights read per token x tg / its bandwidth."""
    row: Row = dict.fromkeys(
        ("memory_read_bytes_per_s", "storage_read_bytes_per_s", "tg_memory_share")
    )
    if not is_ok(bench) or not bench["bandwidth"]:
        return row
    row |= bench["bandwidth"]
    if per_token := is_ok(manifest) and manifest["read_per_token_bytes"]:
        tg_tps = _speed(bench)["tg_tps"]
        row["tg_memory_share"] = per_token * tg_tps / row["memory_read_bytes_per_s"]
    return row


def _depths(bench: Record) -> str:
    """tg behind each context depth, such as `512: 80.1; 2048: 61.5`; tokens per second."""
    shown = []
    for depth in bench["depths"]:
        itl = [seconds for repetition in depth["repetitions"] for seconds in repetition["itl_s"]]
        shown.append(f"{depth['depth_tokens']}: {len(itl) / sum(itl):.1f}")
    return "; ".join(shown)


def _sustained(bench: Record) -> str:
    """tg of the first and the last stretch of the sustained phase, tokens per second."""
    curve = bench["sustained"]
    return f"{curve[0][1]:.1f}; {curve[-1][1]:.1f}" if curve else ""


def _hottest(bench: Record) -> float | None:
    return max((value for _, value in bench["samples"]["temperature_c"]), default=None)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _file(manifest: Record) -> Row:
    known = is_ok(manifest)
    return {
        "file_bytes": manifest["bytes"] if known else None,
        "parameters": manifest["parameters"] if known else None,
        "bits_per_weight": manifest["bits_per_weight"] if known else None,
        "tensors": (
            sum(kind["tensors"] for kind in manifest["tensors_by_type"].values()) if known else None
        ),
        "fallback_tensors": len(manifest["fallbacks"]) if known else None,
        "lineage": " > ".join(manifest["lineage"]) if known else None,
    }
