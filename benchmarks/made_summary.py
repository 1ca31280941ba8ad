"""A made-up summary: as much of one as the decision reads."""

from collections.abc import Iterable, Sequence

from llmpi.quality.kind import Row as TaskRow
from llmpi.quality.squad.kind import COLUMNS, COMPARED
from llmpi.quant_types import width_order
from llmpi.records import now
from llmpi.study.runs import Scored
from llmpi.study.study import Study
from llmpi.summary.records import ClassRow, Summary


def made_summary(
    variants: Iterable[Scored], devices: Sequence[str] = ("pi",), tasks: Sequence[str] = ("qa",)
) -> Summary:
    """Every variant on every device; the narrower, the faster and the smaller."""
    every = list(variants)
    study = Study.model_validate(
        {
            "study": "s",
            "models": {v.model: {"source": {"path": "m.gguf"}} for v in every},
            "quants": sorted({v.quant for v in every}, key=width_order),
            "devices": {name: {"transport": "local"} for name in devices},
            "workloads": {"chat": {"prompt_tokens": 128, "output_tokens": 64}},
            "quality": {task: {"task": "squad", "squad_file": "qa.json"} for task in tasks},
        }
    )
    rows = [_row(device, at, v, tasks) for at, device in enumerate(devices) for v in every]
    return {
        "study": "s",
        "rows": [*rows],
        "groups": [],
        "unlike": [],
        "concurrency": [],
        "conversations": [],
        "samples": [],
        "speculation": [],
        "over_http": [],
        "files": [],
        "fallbacks": [],
        "models": {},
        "questions": {},
        "sections": [],
        "curves": [],
        "measured": [],
        "machines": {},
        "predictions": [],
        "paper": [],
        "tuned": [],
        "engines": [],
        "gates": [],
        "provenance": {
            "llmpi": "",
            "snakemake": "",
            "summarized": now(),
            "config": study.model_dump(mode="json"),
        },
    }


def _row(device: str, at: int, variant: Scored, tasks: Sequence[str]) -> ClassRow:
    """A good cell; the narrower, the faster and the smaller, and each device faster than the one
    before it."""
    width = width_order(variant.quant)[0]
    tg_tps = (10.0 + width) * (1 + at / 10)
    size = 1_000_000 * (100 - width)
    scored: TaskRow = dict.fromkeys((*COLUMNS, *COMPARED))
    return {
        "study": "s",
        "device": device,
        "model": variant.model,
        "quant": variant.quant,
        "runtime": "default",
        "computation": variant.computation,
        "unscored": None,
        "workload": "chat",
        "group": None,
        "boards": [device],
        "status": "ok",
        "stage": None,
        "reason": None,
        "pp_tps": 9 * tg_tps,
        "pp_min_tps": 8 * tg_tps,
        "pp_max_tps": 10 * tg_tps,
        "tg_tps": tg_tps,
        "tg_min_tps": 0.98 * tg_tps,
        "tg_max_tps": 1.02 * tg_tps,
        "tg_sd_tps": 0.01 * tg_tps,
        "repetitions": 5,
        "set_aside": 0,
        "others_pct": 0.0,
        "shortened_to_tokens": None,
        "ttft_s": 10 / tg_tps,
        "itl_p50_s": 1 / tg_tps,
        "itl_p95_s": 1 / tg_tps,
        "itl_max_s": 1 / tg_tps,
        "cold_load_s": 1.0,
        "warm_load_s": 1.0,
        "memory_bytes": size + 200_000,
        "anonymous_bytes": 200_000,
        "file_read_bytes": size,
        "peak_rss_bytes": size + 200_000,
        "major_faults": 0,
        "threads": 4,
        "context_tokens": 256,
        "tg_at_depths_tps": [],
        "sustained_first_last_tps": [],
        "hottest_c": None,
        "marks": [],
        "memory_read_bytes_per_s": None,
        "storage_read_bytes_per_s": None,
        "tg_memory_share": None,
        "energy_tier": None,
        "energy_reason": None,
        "idle_power_w": None,
        "pp_power_w": None,
        "tg_power_w": None,
        "pp_mean_tps": None,
        "tg_mean_tps": None,
        "pp_j_per_token": None,
        "tg_j_per_token": None,
        "pp_uncertainty_j_per_token": None,
        "tg_uncertainty_j_per_token": None,
        "tpj_board": None,
        "tpj_above_idle": None,
        "words_per_battery": None,
        "file_bytes": size,
        "parameters": 1_000_000,
        "bits_per_weight": None,
        "tensors": 5,
        "fallback_tensors": 0,
        "lineage": ["F16", variant.quant],
        "quality": {task: {**scored, "status": "ok", "items": 100} for task in tasks},
        "answers": {},
        "parity_top1_pct": None,
        "parity_kl_nats": None,
        "parity_reason": None,
        "gates_failed": [],
        "parity_misses": [],
        "endpoint": None,
        "endpoint_place": None,
        "endpoint_pp_tps": None,
        "endpoint_tg_tps": None,
        "claimed_file": None,
        "claimed_type": None,
        "claimed_template": None,
        "output_agreement_pct": None,
    }
