"""Records of a study of one model on one device, with a cell that died and one that was not run."""

from pathlib import Path
from typing import Any

import pytest

from llmpi import layout
from llmpi.records import failed, write_json
from llmpi.study.study import Study

EVIL = "<script>alert('reason')</script> & more"


def spec(**more: Any) -> dict[str, Any]:
    study = {
        "study": "s",
        "models": {"m": {"source": {"path": "m.gguf"}}},
        "quants": ["F16", "Q4_0", "Q2_K"],
        "devices": {"pi": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 4, "repetitions": 3}},
        "quality": {"qa": {"task": "squad", "squad_file": "qa.json"}},
        "gates": [{"task": "qa", "metric": "f1", "at_least_pct": 40}],
        "languages": ["en"],
    }
    return Study.model_validate({**study, **more}).model_dump(mode="json")


def manifest(quant: str) -> dict[str, Any]:
    fallbacks = [{"tensor": "blk.0.ffn", "wanted": "Q4_K", "got": "Q5_0"}] if quant != "F16" else []
    return {
        "status": "ok",
        "bytes": 2_000_000,
        "parameters": 1_000_000,
        "bits_per_weight": 16.0,
        "read_per_token_bytes": 2_000_000,
        "tensors_by_type": {"F16": {"tensors": 3}, "F32": {"tensors": 2}},
        "fallbacks": fallbacks,
        "lineage": ["Q4_1", "F16"] + ([quant] if quant != "F16" else []),
    }


def bench(**more: Any) -> dict[str, Any]:
    """A session of one workload, see `chat`."""
    return {
        "status": "ok",
        "load": {"cold_s": 0.5, "warm_s": 0.25},
        "bandwidth": {"memory_read_bytes_per_s": 1e8, "storage_read_bytes_per_s": 1e6},
        "settings": {"threads": 2},
        "environment": {
            "machine": {"memory_bytes": 8_000_000_000},
            "before": {"memory_available_bytes": 7_000_000_000},
        },
        "samples": {"temperature_c": [[0.0, 41.0], [1.0, 55.5]]},
        "workloads": {"chat": {**chat(), **more}},
    }


def chat() -> dict[str, Any]:
    """Three repetitions: pp 100, 50, 200 tokens/s; tg 10, 20, 5 tokens/s."""
    deep = [{"itl_s": [0.1, 0.1]}, {"itl_s": [0.3, 0.3]}]
    return {
        "status": "ok",
        "workload": {"prompt_tokens": 100},
        "context_tokens": 128,
        "repetitions": [
            {"pp_s": 1.0, "ttft_s": 1.1, "itl_s": [0.1, 0.1, 0.1]},
            {"pp_s": 2.0, "ttft_s": 2.1, "itl_s": [0.05, 0.05, 0.05]},
            {"pp_s": 0.5, "ttft_s": 0.6, "itl_s": [0.2, 0.2, 0.2]},
        ],
        "memory": {"peak_rss_bytes": 5_000_000, "major_faults": 7},
        "marks": [],
        "depths": [{"depth_tokens": 512, "repetitions": deep}],
        "sustained": [[5.0, 12.0], [6.0, 11.0], [7.0, 8.5]],
        "energy": {"status": "none", "tier": None, "reason": "the device has no meter"},
    }


def quality(f1: float) -> dict[str, Any]:
    score = {"pct": f1, "low_pct": f1 - 5, "high_pct": f1 + 5, "items": 9}
    names = ("exact", "f1", "has_ans_exact", "has_ans_f1", "no_ans_exact", "no_ans_f1")
    summary = {"items": 9, "metrics": dict.fromkeys(names, score), "thresholds": None}
    items = [
        {"id": str(i), "paragraph": i // 3, "exact": int(i < f1 / 10), "f1": float(i < f1 / 10)}
        for i in range(9)
    ]
    return {"status": "ok", "summary": summary, "descent": None, "items": items}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F16 measured and scored; Q4_0's benchmark died and it misses the gate; Q2_K is not run."""
    monkeypatch.chdir(tmp_path)
    model = {"model": "m"}
    origin = {"kind": "path", "path": f"/models/{EVIL}"}
    write(layout.MODEL_MANIFEST, {"status": "ok", "origin": origin, "files": {}}, **model)
    write(
        layout.QUESTIONS,
        {
            "status": "ok",
            "source": {"file": "qa.json"},
            "questions": 9,
            "unanswerable": 3,
            "paragraphs": 3,
            "sha256": "abc",
            "squad": {"secret": "not in the summary"},
        },
        study="s",
        task="qa",
    )
    for quant, measured, f1 in (("F16", bench(), 50.0), ("Q4_0", died(), 30.0)):
        cell = {**model, "quant": quant}
        write(layout.GGUF_MANIFEST, manifest(quant), **cell)
        write(layout.BENCH, measured, study="s", device="pi", runtime="default", **cell)
        write(layout.QUALITY, quality(f1), study="s", task="qa", **cell)


def died() -> dict[str, Any]:
    return failed("benchmark", EVIL, log_tail="")


def write(pattern: str, record: dict[str, Any], **wildcards: str) -> None:
    write_json(Path(layout.at(pattern, **wildcards)), record)
