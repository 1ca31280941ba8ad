"""Records of a study on Raspberry Pis as the rules would leave them, where there is no Pi.

Only the numbers are made up: speeds by the memory's bandwidth, powers by the paper's, scores by a
seed. Everything that follows from them (summary, comparisons, descent, choice, money) is computed
by the project's own code.
"""

import random
from pathlib import Path
from typing import Any

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.quality.ab.compare import Outcome, Prompt, compare
from llmpi.quality.squad.descent import Step
from llmpi.records import failed, write_json
from llmpi.study.runs import pairs_of
from llmpi.study.study import Study
from llmpi.summary.study import summarize

Record = dict[str, Any]

PARAMETERS = {"llama-3.2-1b": 1.236e9, "gemma-2-2b": 2.614e9, "llama-3.2-3b": 3.213e9}
HUB = {
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "gemma-2-2b": "google/gemma-2-2b-it",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B-Instruct",
}
BITS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q4_0": 4.55, "Q2_K": 3.35}
MEMORY_RATE, UNPACKING_RATE = 9.4e9, 5.6e9
STORAGE_RATE = {"pi5": 0.45e9, "pi5-sd": 0.08e9}
IDLE_W, BUSY_W = 3.3, 6.4
SCORE = {"F16": 0.62, "Q8_0": 0.62, "Q6_K": 0.61, "Q4_0": 0.57, "Q2_K": 0.06}
PARAGRAPHS, PER_PARAGRAPH = 60, 5


def spec(**more: Any) -> Record:
    """The study's config, whole, with everything a page can show."""
    ssh = {"transport": "ssh", "host": "pi.local", "preset": "pi5-8gb"}
    config = {
        "study": "pis",
        "models": {m: {"source": {"hub": HUB[m], "revision": "0" * 40}} for m in PARAMETERS},
        "quants": list(BITS),
        "devices": {
            "pi5": {**ssh, "store": "/mnt/nvme/llmpi", "meter": {"kind": "hwmon"}, "idle_s": 15},
            "pi5-sd": {**ssh, "meter": {"kind": "pmic"}, "idle_s": 15},
        },
        "workloads": {
            "chat": {"prompt_tokens": 128, "output_tokens": 64, "sustained_s": 300},
            "long": {"prompt_tokens": 1024, "output_tokens": 64},
        },
        "quality": {
            "squad": {"task": "squad", "squad_file": "squad.json"},
            "wiki": {"task": "divergence", "text_file": "wiki.txt"},
            "own": {
                "task": "ab",
                "prompts": "own.jsonl",
                "pairs": [["llama-3.2-3b/F16", "llama-3.2-3b/Q4_0"]],
            },
        },
        "gates": [{"task": "squad", "metric": "f1", "at_least_pct": 30}],
        "descent": {"task": "squad", "margin_pct": 10},
        "constraints": {"tps_at_least": 4, "memory_at_most": "6G"},
        "cost": {
            "currency": "EUR",
            "hardware": {
                "pi5": {"board": 85, "m2_hat": 15, "ssd": 35, "supply": 13, "cooling": 6},
                "pi5-sd": {"board": 85, "ssd": 12, "supply": 13, "cooling": 6},
            },
            "boards": 20,
            "lifespan_years": 4,
            "duty_pct": 25,
            "price_per_kwh": {"value": 0.3, "source": "the supplier's invoice"},
            "grid_co2_g_per_kwh": 380,
            "engineering": {
                "price_per_day": 600,
                "setup_days": 5,
                "maintenance_days_per_year": 2,
            },
            "alternatives": {
                "cloud-api": {
                    "kind": "api",
                    "price_per_million_input_tokens": 0.15,
                    "price_per_million_output_tokens": 0.6,
                },
                "without-hat": {"kind": "device", "device": "pi5-sd"},
            },
            "hat": {"with_hat": "pi5", "without_hat": "pi5-sd"},
        },
    }
    return Study.model_validate({**config, **more}).model_dump(mode="json")


def many(*, models: int, quants: int, devices: int) -> Record:
    """A sweep with two workloads, without what is only ever shown for one variant."""
    few = spec()
    widths = [*BITS, "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_1", "Q3_K_M"]
    return spec(
        models={f"model-{i}": {"source": {"path": f"model-{i}.gguf"}} for i in range(models)},
        quants=widths[:quants],
        devices={f"pi-{i}": {"transport": "local", "meter": few["devices"]["pi5"]["meter"]}
                 for i in range(devices)},
        quality={"squad": {"task": "squad", "squad_file": "squad.json"}},
        descent=None,
        constraints={},
        cost=None,
    )  # fmt: skip


def write(pattern: str, record: Record, **wildcards: str) -> None:
    write_json(Path(layout.at(pattern, **wildcards)), record)


def write_records(config: Record) -> None:
    """Every record of the study, into `results/` of the working directory.

    llama-3.2-3b dies as F16 on the card; pi5-sd computes gemma's Q6_K otherwise.
    """
    study = config["study"]
    for model in config["models"]:
        origin = {"kind": "hub", "hub": HUB.get(model, model), "revision": "0" * 40}
        files = {"model.safetensors": {"sha256": "ab" * 32, "bytes": 2 * _parameters(model)}}
        manifest = {"status": "ok", "origin": origin, "licence": "llama3.2", "files": files}
        write(layout.MODEL_MANIFEST, {**manifest, "fetched": "2026-11-20"}, model=model)
        scored: Record = {}
        for quant in config["models"][model]["quants"] or config["quants"]:
            variant = {"model": model, "quant": quant}
            write(layout.GGUF_MANIFEST, _gguf(model, quant), **variant)
            for task, asked in config["quality"].items():
                if asked["task"] == "squad":
                    record = _squad(model, quant, scored, config["descent"])
                elif asked["task"] == "divergence":
                    record = _divergence(quant)
                else:
                    record = {"status": "ok", "summary": {"passed_pct": 60.0}}
                write(layout.QUALITY, record, study=study, task=task, **variant)
                if asked["task"] == "squad":
                    scored[quant] = record
            for device in config["devices"]:
                cell = {"study": study, "device": device, **variant}
                write(layout.PARITY, _parity(device, model, quant), **cell)
                for runtime in config["runtimes"]:
                    write(layout.BENCH, _bench(config, runtime, **cell), runtime=runtime, **cell)
    for device in config["devices"]:
        write(layout.PROVISIONED, {"status": "ok", **_machine()}, device=device)
    for task, asked in config["quality"].items():
        if asked["task"] == "squad":
            write(layout.QUESTIONS, _questions(), study=study, task=task)
        if asked["task"] == "ab":
            for pair, (a, b) in pairs_of(Study.model_validate(config), task).items():
                record = _ab("/".join(a), "/".join(b))
                write(layout.AB, record, study=study, task=task, pair=pair)


def decided(config: Record) -> tuple[Record, Record]:
    """Summary and recommendation of the records that were written."""
    study = Study.model_validate(config)
    summary = summarize(config)
    assert study.constraints
    chosen = recommend(summary, study.constraints)
    money = costs(summary, study.cost, chosen) if study.cost else None
    return summary, {**chosen, "money": money}


def _parameters(model: str) -> int:
    return int(PARAMETERS.get(model, 1.5e9))


def _bits(quant: str) -> float:
    return BITS.get(quant, 5.0)


def _gguf(model: str, quant: str) -> Record:
    size = int(_parameters(model) * _bits(quant) / 8)
    return {
        "status": "ok",
        "bytes": size,
        "sha256": "cd" * 32,
        "parameters": _parameters(model),
        "bits_per_weight": _bits(quant),
        "main_type": quant,
        "read_per_token_bytes": size,
        "tensors_by_type": {quant: {"tensors": 147}, "F32": {"tensors": 35}},
        "fallbacks": [],
        "lineage": ["F16", quant] if quant != "F16" else ["F16"],
    }


def _machine() -> Record:
    return {
        "machine": {
            "board": "Raspberry Pi 5 Model B Rev 1.0",
            "cpu": "Cortex-A76",
            "arch": "aarch64",
            "processors": 4,
            "memory_bytes": 8_258_000_000,
            "kernel": "Linux 6.12.25+rpt-rpi-2712",
        },
        "engine": {
            "name": "llama-cpp-python",
            "version": "0.3.36",
            "llama_cpp_commit": "0c1e570",
            "features": ["NEON", "DOTPROD", "REPACK"],
            "library_sha256": "ef" * 32,
        },
    }


def _bench(config: Record, runtime: str, **cell: str) -> Record:
    model, quant, device = cell["model"], cell["quant"], cell["device"]
    if (model, quant, device) == ("llama-3.2-3b", "F16", "pi5-sd"):
        return failed("benchmark", "the engine was killed: no memory", log_tail="")
    draw = random.Random("/".join([*cell.values(), runtime]))
    size = _parameters(model) * _bits(quant) / 8
    tg = (UNPACKING_RATE if quant == "Q2_K" else MEMORY_RATE) / size
    if runtime != "default":
        tg *= 0.95
    rate = STORAGE_RATE.get(device, 0.3e9)
    machine = _machine()
    return {
        "status": "ok",
        "load": {"cold_s": size / rate * 1.08 + 0.4, "warm_s": size / 4e9 + 0.3},
        "bandwidth": {"memory_read_bytes_per_s": 11.2e9, "storage_read_bytes_per_s": rate},
        "settings": {"threads": 4},
        "samples": _samples(quant),
        "environment": {
            "machine": machine["machine"],
            "engine": machine["engine"],
            "before": {"at": "2026-11-21T08:00:00+00:00", "memory_available_bytes": 7.4e9},
        },
        "workloads": {
            name: _workload(asked, tg, size, draw, device)
            for name, asked in config["workloads"].items()
        },
    }


def _workload(asked: Record, tg: float, size: float, draw: random.Random, device: str) -> Record:
    prompt, repetitions = asked["prompt_tokens"], []
    tg *= 1 - prompt / 40_000
    for _ in range(asked["repetitions"]):
        noise = draw.gauss(1, 0.012)
        pp_s = prompt / (tg * 7.5 * noise)
        itl = [1 / (tg * noise * draw.gauss(1, 0.02)) for _ in range(asked["output_tokens"])]
        repetitions.append({"pp_s": pp_s, "ttft_s": pp_s + 0.01, "itl_s": itl})
    phase = {"power_w": BUSY_W, "j_per_token": BUSY_W / tg, "uncertainty_j_per_token": 0.02 / tg}
    tier = "pmic" if device == "pi5-sd" else "metered"
    energy = {"status": "ok", "tier": tier, "idle_power_w": IDLE_W, "tg": phase}
    energy["pp"] = {**phase, "j_per_token": BUSY_W / tg / 7.5}
    seconds = range(int(asked["sustained_s"]))
    return {
        "status": "ok",
        "workload": {"prompt_tokens": prompt, "output_tokens": asked["output_tokens"]},
        "context_tokens": prompt + asked["output_tokens"],
        "repetitions": repetitions,
        "memory": {"peak_rss_bytes": int(size * 1.1 + 2e8), "major_faults": 0},
        "marks": [],
        "depths": [],
        "sustained": [[10.0 + s, tg * (1 if s < 150 else 0.8) * draw.gauss(1, 0.01)]
                      for s in seconds],
        "energy": energy,
    }  # fmt: skip


def _samples(quant: str) -> Record:
    heat = [[float(s), min(82.0, 48 + s * 0.22)] for s in range(320)]
    return {"temperature_c": heat, "throttled": [[170.0, ["throttled"]]] if quant == "F16" else []}


def _questions() -> Record:
    return {
        "status": "ok",
        "source": {"hub": "rajpurkar/squad_v2", "split": "validation"},
        "questions": PARAGRAPHS * PER_PARAGRAPH,
        "unanswerable": PARAGRAPHS,
        "paragraphs": PARAGRAPHS,
        "sha256": "12" * 32,
        "squad": {},
    }


def _squad(model: str, quant: str, scored: Record, descent: Record | None) -> Record:
    draw = random.Random(model)  # the same questions are hard for every quantization
    share = SCORE.get(quant, 0.5)
    items = []
    for i in range(PARAGRAPHS * PER_PARAGRAPH):
        asked = draw.random()
        right = float(asked < share) if i % PER_PARAGRAPH else float(asked < 0.5)
        where = {"id": str(i), "paragraph": i // PER_PARAGRAPH}
        golds = ["gold"] if i % PER_PARAGRAPH else []
        items.append({**where, "golds": golds, "exact": right, "f1": right})
    kinds = {
        "": items,
        "has_ans_": [item for i, item in enumerate(items) if i % PER_PARAGRAPH],
        "no_ans_": items[::PER_PARAGRAPH],
    }
    metrics = {}
    for kind, chosen in kinds.items():
        pct = 100 * sum(item["f1"] for item in chosen) / len(chosen)
        score = {"pct": pct, "low_pct": max(0, pct - 5), "high_pct": pct + 5, "items": len(chosen)}
        metrics |= {f"{kind}exact": score, f"{kind}f1": score}
    record: Record = {
        "status": "ok",
        "summary": {"items": len(items), "metrics": metrics, "thresholds": None},
        "items": items,
        "descent": None,
    }
    if descent and scored:
        step = Step(descent, next(iter(scored.values())), {})
        record["descent"] = step.verdict(items)
    return record


def _divergence(quant: str) -> Record:
    kld = {"F16": 0.0, "Q8_0": 0.002, "Q6_K": 0.006, "Q4_0": 0.06, "Q2_K": 1.1}.get(quant, 0.1)
    values = {
        "perplexity": 9.1 * (1 + kld),
        "perplexity_ratio": 1 + kld,
        "kld_mean_nats": kld,
        "kld_median_nats": kld * 0.7,
        "kld_p99_nats": kld * 6,
        "top1_agreement_pct": 100 - 30 * kld,
    }
    return {
        "status": "ok",
        "summary": {n: {"value": v, "standard_error": v * 0.02} for n, v in values.items()},
        "window_tokens": 512,
        "chunks": 64,
        "wanted_chunks": 64,
        "corpus": {"source": {"hub": "Salesforce/wikitext"}, "sha256": "34" * 32},
    }


def _parity(device: str, model: str, quant: str) -> Record:
    differs = (device, model, quant) == ("pi5-sd", "gemma-2-2b", "Q6_K")
    said = "the device computes another model: KL divergence 0.06 nats > 0.02"
    reason = said if differs else None
    kl = 0.06 if differs else 0.0001 if quant == "F16" else 0.004
    top1 = 82.0 if differs else 96.5
    return {"status": "ok", "agrees": not differs, "reason": reason, "kl_nats": kl,
            "top1_pct": top1}  # fmt: skip


def _ab(a: str, b: str) -> Record:
    draw = random.Random(5)
    prompts = [
        Prompt(id=str(i), prompt="?", tags=[("units", "format", "safety")[i % 3]])
        for i in range(60)
    ]
    outcomes = [
        [
            Outcome(p.id, draw.random() < share, [], None, text="", cut_off=False, error=None)
            for p in prompts
        ]
        for share in (0.8, 0.6)
    ]
    return {"status": "ok", "a": a, "b": b, "judged": [], **compare(prompts, *outcomes)}
