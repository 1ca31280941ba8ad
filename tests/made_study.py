"""A study of two boards with everything: its records written, its summary made by the real code.

What a device would have answered is made up; files, energy, comparisons and the summary are not.
"""

import random
from functools import cache
from pathlib import Path
from typing import Any

from llmpi import layout
from llmpi.device.machine.energy import Samples, add_energy
from llmpi.plan.model_facts import model_of
from llmpi.plan.sizes import sizes
from llmpi.quality.squad.evaluate import summarize
from llmpi.quant_types import type_of
from llmpi.records import Record, failed, write_json
from llmpi.study.runs import Session, Variant, sessions, variants
from llmpi.study.study import Study

LLAMA = "meta-llama/Llama-3.2-1B-Instruct"
QUANTS = ["F16", "Q8_0", "Q6_K", "Q4_0", "Q2_K"]
TG_TPS = {"F16": 3.6, "Q8_0": 7.2, "Q6_K": 8.9, "Q4_K_M": 10.7, "Q4_0": 12.4, "Q2_K": 14.1}
"""Of the NVMe board."""
KNOWS = {"F16": 0.80, "Q8_0": 0.80, "Q6_K": 0.79, "Q4_K_M": 0.78, "Q4_0": 0.76, "Q2_K": 0.01}
"""Share of the questions with an answer that a variant gets right."""
ABSTAINS = 0.6
"""Share of the others on which every variant abstains, as it should."""
IDLE_W, BUSY_W = 3.2, 6.4
NO_METER = "the device has no meter"


def spec(**more: Any) -> Record:
    """The study's config as `Study` dumps it."""
    ssh = {"transport": "ssh", "preset": "pi5-8gb", "meter": {"kind": "pmic"}, "idle_s": 15}
    study = {
        "study": "made",
        "models": {"llama-1b": {"source": {"hub": LLAMA}}},
        "quants": QUANTS,
        "devices": {"nvme": {**ssh, "host": "nvme.local"}, "sd": {**ssh, "host": "sd.local"}},
        "workloads": {
            "chat": {
                "prompt_tokens": 32,
                "output_tokens": 50,
                "repetitions": 5,
                "context_tokens": 4096,
            }
        },
        "quality": {"qa": {"task": "squad", "squad_file": "qa.json"}},
    }
    return Study.model_validate({**study, **more}).model_dump(mode="json")


def write_records(config: Record, *, metered: bool = True) -> None:
    """The records of a finished study, below the working directory.

    The board `sd` generates 4 % slower, loads slowly, and the engine died on it of F16.
    """
    study = Study.model_validate(config)
    for variant in variants(study):
        _write(layout.GGUF_MANIFEST, _manifest(study, variant), **variant._asdict())
        for task in study.quality:
            where = {"study": study.study, "task": task, **variant._asdict()}
            _write(layout.QUALITY, _quality(variant.quant), **where)
    for task in study.quality:
        asked = {"status": "ok", "source": {"file": "qa.json"}, "paragraphs": 80, "sha256": "abc"}
        asked |= {"questions": 400, "unanswerable": 200}
        _write(layout.QUESTIONS, asked, study=study.study, task=task)
    for session in sessions(study):
        where = {"study": study.study, **session._asdict()}
        bench = _bench(study, session, metered)
        if (session.device, session.quant) == ("sd", "F16"):
            bench = failed("benchmark", "the engine died", log_tail="")
        _write(layout.BENCH, bench, **where)
        parity = {"status": "ok", "reason": None, "top1_pct": 97.0, "kl_nats": 0.004}
        _write(layout.PARITY, parity, **where)
    for device in study.devices:
        _write(layout.PROVISIONED, machine(), device=device)
    for model in study.models:
        manifest = {"status": "ok", "origin": {"kind": "hub"}, "licence": "llama3.2", "files": {}}
        _write(layout.MODEL_MANIFEST, manifest, model=model)


def machine(board: str | None = "Raspberry Pi 5 Model B Rev 1.0") -> Record:
    return {
        "status": "ok",
        "machine": {
            "board": board,
            "memory_bytes": 8_450_000_000,
            "cpu": "Arm 0xd0b",
            "processors": 4,
        },
        "engine": {
            "name": "llama-cpp-python",
            "version": "0.3.36",
            "llama_cpp_commit": "0c1e570",
            "build_flags": {"CFLAGS": "", "CXXFLAGS": "", "CMAKE_ARGS": ""},
        },
    }


def _write(pattern: str, record: Record, **wildcards: str) -> None:
    write_json(Path(layout.at(pattern, **wildcards)), record)


def _manifest(study: Study, variant: Variant) -> Record:
    found = sizes(model_of(study, variant.model, ask_hub=False), variant.quant)
    return {
        "status": "ok",
        "bytes": found.file_bytes,
        "parameters": found.parameters,
        "bits_per_weight": found.bits_per_weight,
        "read_per_token_bytes": found.read_per_token_bytes,
        "architecture": "llama",
        "main_type": variant.quant,
        "tensors_by_type": {variant.quant: {"tensors": 146, "bytes": found.file_bytes}},
        "fallbacks": [],
        "lineage": ["BF16", "F16"] + ([variant.quant] if variant.quant != "F16" else []),
    }


@cache
def _quality(quant: str) -> Record:
    draw = random.Random(0)  # the same questions are hard for every variant
    items = []
    for i in range(400):
        answerable, luck = i % 2 == 0, draw.random()
        right = float(luck < (KNOWS[type_of(quant)] if answerable else ABSTAINS))
        items.append(
            {
                "id": str(i),
                "paragraph": i // 5,
                "golds": ["yes"] if answerable else [],
                "prediction": "yes" if bool(right) == answerable else "",
                "f1": right,
                "exact": int(right),
                "no_answer": -luck,
                "error": None,
            }
        )
    return {"status": "ok", "summary": summarize(items), "descent": None, "items": items}


def _bench(study: Study, session: Session, metered: bool) -> Record:
    tg_tps = TG_TPS[type_of(session.quant)] * (0.96 if session.device == "sd" else 1.0)
    storage = 0.045e9 if session.device == "sd" else 0.43e9
    weights = sizes(model_of(study, session.model, ask_hub=False), session.quant).file_bytes
    cells, clock = {}, 100.0
    for name, workload in study.workloads.items():
        repetitions = []
        for i in range(workload.repetitions):
            slower = 1 + 0.01 * i
            pp_s = workload.prompt_tokens / (5 * tg_tps) * slower
            itl_s = [slower / tg_tps] * workload.output_tokens
            repetitions.append(
                {"start_s": clock, "pp_s": pp_s, "ttft_s": pp_s + 0.001, "itl_s": itl_s}
            )
            clock += pp_s + 0.001 + sum(itl_s) + 0.1
        cells[name] = {
            "status": "ok",
            "workload": workload.model_dump(mode="json"),
            "context_tokens": workload.context_tokens or 82,
            "repetitions": repetitions,
            "memory": {"peak_rss_bytes": weights + 150_000_000, "major_faults": 0, "swap_bytes": 0},
            "marks": [],
            "depths": [],
            "sustained": [],
            "energy": {"status": "none", "tier": None, "reason": NO_METER},
        }
    record = {
        "status": "ok",
        "idle": [80.0, 95.0],
        "load": {"cold_s": weights / storage, "warm_s": 0.4},
        "bandwidth": {
            "memory_read_bytes_per_s": 14.6e9,
            "storage_read_bytes_per_s": storage,
        },
        "settings": {
            "threads": 4,
            "batch_tokens": 2048,
            "ubatch_tokens": 512,
            "kv_cache": "f16",
            "flash_attention": "auto",
            "mmap": True,
            "mlock": False,
            "repack": True,
            "omp_wait_policy": None,
        },
        "environment": {
            **{key: machine()[key] for key in ("machine", "engine")},
            "before": {"memory_available_bytes": 7_600_000_000},
        },
        "limits": None,
        "samples": {"temperature_c": [[0.0, 51.0], [1.0, 63.5]]},
        "workloads": cells,
        "gguf_sha256": "f" * 64,
        "started": "2026-11-24T10:00:00+00:00",
        "ended": "2026-11-24T10:05:00+00:00",
    }
    if metered:
        times = [79.0, 95.5, 96.0, clock + 5]
        samples = Samples(times, [IDLE_W, IDLE_W, BUSY_W, BUSY_W], [])
        add_energy(record, samples, {"kind": "pmic", "accuracy_pct": 2.0})
    return record
