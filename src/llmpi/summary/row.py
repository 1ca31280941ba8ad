"""A cell of the summary: what was measured and scored of one workload of a variant on a device."""

import statistics
from collections.abc import Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Literal, TypeVar, cast, get_origin, get_type_hints

from llmpi.device.machine.energy import tokens_per_joule, words_per_battery
from llmpi.engine.records import (
    ConcurrentRepetition,
    Depth,
    Failed,
    Memory,
    Repetition,
    SingleCell,
)
from llmpi.gguf.records import Gguf
from llmpi.results import NotRun
from llmpi.study.devices import group_of
from llmpi.study.runs import Run
from llmpi.study.study import Battery, Study
from llmpi.summary.answers import answer_costs
from llmpi.summary.computed import Computed
from llmpi.summary.measured import Single
from llmpi.summary.percentiles import deviation, percentile
from llmpi.summary.records import (
    AnswerCost,
    CellEnergy,
    CellKey,
    DepthSpeed,
    File,
    OverHttp,
    Roofline,
    Row,
    Speed,
    Transfer,
)

Part = TypeVar("Part", Speed, Roofline, CellEnergy, File, OverHttp)


def row(
    study: Study,
    run: Run,
    measured: Single | Failed | NotRun,
    manifest: Gguf | Failed | NotRun,
    computed: Computed,
    on_device: Transfer,
    output_agreement_pct: float | None,
    memory_read_bytes_per_s: float | None,
) -> Row:
    """One cell. Speed as median, least and greatest of the repetitions; units are in the names.

    Args:
        memory_read_bytes_per_s: what the device's memory delivers, see `llmpi.summary.bandwidth`.
    """
    if isinstance(measured, Single) and manifest["status"] == "failed":
        measured = manifest  # its file is not known: what it weighs, what it was made from
    known = manifest if manifest["status"] == "ok" else None
    well = measured if isinstance(measured, Single) else None
    speed = _speed(well) if well else _nothing(Speed)
    energy = _energy(well, study.battery) if well else _nothing(CellEnergy)
    return {
        "study": study.study,
        **place(run),
        "group": group_of(study.devices[run.device]),
        "computation": computed.asked.computation,
        "status": "ok" if isinstance(measured, Single) else measured["status"],
        "stage": None if isinstance(measured, Single) else measured["stage"],
        "reason": None if isinstance(measured, Single) else measured["reason"],
        **speed,
        **(_roofline(well, known, speed, memory_read_bytes_per_s) if well else _nothing(Roofline)),
        **energy,
        **(_file(known) if known else _nothing(File)),
        "unscored": computed.unscored,
        "quality": dict(computed.quality),
        "answers": _answers(well, computed, speed, energy) if well else {},
        **on_device,
        **((well and http_of(well)) or _nothing(OverHttp)),
        "output_agreement_pct": output_agreement_pct,
    }


def http_of(measured: Single) -> OverHttp | None:
    """What is known of an endpoint; None where none was asked."""
    if "endpoint" not in measured.how:
        return None
    endpoint = measured.how["endpoint"]
    return {
        "endpoint": endpoint["api"],
        "endpoint_place": "on the device" if endpoint["on_device"] else "in the network",
        "endpoint_pp_tps": own_rate(measured, "pp_tps"),
        "endpoint_tg_tps": own_rate(measured, "tg_tps"),
        "claimed_file": endpoint["claimed"]["file"],
        "claimed_type": endpoint["claimed"]["type"],
        "claimed_template": endpoint["claimed"]["template"],
    }


def own_rate(measured: Single, key: Literal["pp_tps", "tg_tps"]) -> float | None:
    """By the endpoint's own counters: the median; None where it is silent in a repetition."""
    told = [r["served"][key] if "served" in r else None for r in measured.cell["repetitions"]]
    known = [rate for rate in told if rate is not None]
    return statistics.median(known) if known and len(known) == len(told) else None


def _answers(
    measured: Single, computed: Computed, speed: Speed, energy: CellEnergy
) -> dict[str, AnswerCost]:
    """None where tokens were drafted: what that gains hangs on the text, and the workload's is none
    of the task's answers."""
    if "drafted" in measured.cell["repetitions"][0]:
        return {}
    prompt_tokens = measured.cell["workload"]["prompt_tokens"]
    return answer_costs(computed.answers, speed, energy, prompt_tokens)


def place(run: Run) -> CellKey:
    return {
        "device": run.device,
        "model": run.model,
        "quant": run.quant,
        "runtime": run.runtime,
        "workload": run.workload,
    }


def _nothing(part: type[Part]) -> Part:
    """A part of a row that is not known: lists without anything, and else None."""
    fields = _fields(part)  # type: ignore[arg-type]  # types are hashable
    empty: dict[str, list[str] | None] = {
        name: [] if is_list else None for name, is_list in fields.items()
    }
    return cast(Part, empty)  # every field of these parts is a list or may be None; a test holds it


@cache
def _fields(part: type[Part]) -> dict[str, bool]:
    """Whether each is a list."""
    return {name: get_origin(hint) is list for name, hint in get_type_hints(part).items()}


def _speed(measured: Single) -> Speed:
    cell, how = measured.cell, measured.how
    prompt_tokens, repetitions = cell["workload"]["prompt_tokens"], cell["repetitions"]
    pp_tps = [prompt_tokens / r["pp_s"] for r in repetitions]
    tg_tps = [len(r["itl_s"]) / sum(r["itl_s"]) for r in repetitions]
    itl = sorted(chain.from_iterable(map(itemgetter("itl_s"), repetitions)))
    curve = cell["sustained"]
    heat = measured.session["samples"]["temperature_c"]
    return {
        "pp_tps": statistics.median(pp_tps),
        "pp_min_tps": min(pp_tps),
        "pp_max_tps": max(pp_tps),
        "tg_tps": statistics.median(tg_tps),
        "tg_min_tps": min(tg_tps),
        "tg_max_tps": max(tg_tps),
        "tg_sd_tps": deviation(tg_tps) if len(tg_tps) > 1 else None,
        "repetitions": len(repetitions),
        "set_aside": len(cell["set_aside"]),
        "others_pct": _others_pct(cell),
        "shortened_to_tokens": cell["shortened"] and cell["shortened"]["output_tokens"],
        "ttft_s": statistics.median(r["ttft_s"] for r in repetitions),
        "itl_p50_s": percentile(itl, 50),
        "itl_p95_s": percentile(itl, 95),
        "itl_max_s": itl[-1],
        "cold_load_s": how["load"] and how["load"]["cold_s"],
        "warm_load_s": how["load"] and how["load"]["warm_s"],
        "memory_bytes": memory_bytes(cell["memory"]),
        "anonymous_bytes": cell["memory"]["anonymous_bytes"],
        "file_read_bytes": cell["memory"]["file_bytes"],
        "peak_rss_bytes": cell["memory"]["peak_rss_bytes"],
        "major_faults": cell["memory"]["major_faults"],
        "threads": how["settings"] and how["settings"]["threads"],
        "context_tokens": cell["context_tokens"],
        "tg_at_depths_tps": [_at_depth(depth) for depth in cell["depths"]],
        "sustained_first_last_tps": [curve[0][1], curve[-1][1]] if curve else [],
        "hottest_c": max(map(itemgetter(1), heat), default=None),
        "marks": cell["marks"],
    }


def memory_bytes(found: Memory) -> int | None:
    """What it needs; the peak of all that was there, where the kernel does not tell that apart."""
    own, files = found["anonymous_bytes"], found["file_bytes"]
    return found["peak_rss_bytes"] if own is None or files is None else own + files


def _others_pct(cell: SingleCell) -> float | None:
    behind = [repetition for depth in cell["depths"] for repetition in depth["repetitions"]]
    found = [one for r in [*cell["repetitions"], *behind] if (one := r.get("contention"))]
    return max((one["others_pct"] for one in found if one["others_pct"] is not None), default=None)


def _at_depth(depth: Depth) -> DepthSpeed:
    itl = [seconds for repetition in depth["repetitions"] for seconds in repetition["itl_s"]]
    return {"depth_tokens": depth["depth_tokens"], "tps": len(itl) / sum(itl)}


def _roofline(
    measured: Single, manifest: Gguf | None, speed: Speed, memory_rate: float | None
) -> Roofline:
    """tg as a share of what the memory delivers: weights read per token x tg / its bandwidth."""
    bandwidth = measured.session["bandwidth"]
    if bandwidth is None or memory_rate is None:
        return _nothing(Roofline)
    share, tg_tps = None, speed["tg_tps"]
    if tg_tps and manifest and (per_token := manifest["read_per_token_bytes"]):
        share = per_token * tg_tps / memory_rate
    return {
        "memory_read_bytes_per_s": memory_rate,
        "storage_read_bytes_per_s": bandwidth["storage_read_bytes_per_s"],
        "tg_memory_share": share,
    }


def _energy(measured: Single, battery: Battery) -> CellEnergy:
    """Joules where a meter gave them; else why not.

    Speed, power and joules are of the same average, all tokens and all seconds, so that what is
    made of them closes: a median beside a mean does not.
    """
    energy, repetitions = measured.cell["energy"], measured.cell["repetitions"]
    nothing = _nothing(CellEnergy)
    if energy is None:
        return nothing
    if energy["status"] == "none":
        return {**nothing, "energy_tier": energy["tier"], "energy_reason": energy["reason"]}
    pp, tg, idle_w = energy["pp"], energy["tg"], energy["idle_power_w"]
    power_w = tg["power_w"]
    prompts = len(repetitions) * measured.cell["workload"]["prompt_tokens"]
    tps = mean_tps(repetitions)
    return {
        "energy_tier": energy["tier"],
        "energy_reason": None,
        "idle_power_w": idle_w,
        "pp_power_w": pp["power_w"],
        "tg_power_w": power_w,
        "pp_mean_tps": prompts / sum(r["pp_s"] for r in repetitions),
        "tg_mean_tps": tps,
        "pp_j_per_token": pp["j_per_token"],
        "pp_uncertainty_j_per_token": pp["uncertainty_j_per_token"],
        "tg_j_per_token": tg["j_per_token"],
        "tg_uncertainty_j_per_token": tg["uncertainty_j_per_token"],
        "tpj_board": tokens_per_joule(tps, power_w),
        "tpj_above_idle": None if idle_w is None else tokens_per_joule(tps, power_w, idle_w),
        "words_per_battery": words_per_battery(tps, power_w, battery.wh, battery.tokens_per_word),
    }


def mean_tps(repetitions: Sequence[Repetition] | Sequence[ConcurrentRepetition]) -> float:
    """Steps of all repetitions / their seconds."""
    steps = sum(len(repetition["itl_s"]) for repetition in repetitions)
    return steps / sum(sum(repetition["itl_s"]) for repetition in repetitions)


def _file(manifest: Gguf) -> File:
    return {
        "file_bytes": manifest["bytes"],
        "parameters": manifest["parameters"],
        "bits_per_weight": manifest["bits_per_weight"],
        "tensors": tensors_of(manifest),
        "fallback_tensors": len(manifest["fallbacks"]),
        "lineage": manifest["lineage"],
    }


def tensors_of(manifest: Gguf) -> int:
    return sum(kind["tensors"] for kind in manifest["tensors_by_type"].values())
