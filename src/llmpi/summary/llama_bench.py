"""Speeds as llama-bench writes them (`llama-bench -o jsonl`), for tools that read its files."""

import json
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from llmpi import layout
from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.records import whole_file
from llmpi.results import NotRun
from llmpi.study.runs import Session as SessionId
from llmpi.study.runs import sessions
from llmpi.study.study import Study
from llmpi.summary.measured import Single, single
from llmpi.summary.percentiles import deviation
from llmpi.summary.read import Records

Line = dict[str, object]
"""A test by llama-bench's fields; it is written, and never read here."""

SAME: Line = {
    "build_number": 0,
    "gpu_info": "",
    "backends": "CPU",
    "cpu_mask": "0x0",
    "cpu_strict": False,
    "poll": 50,
    "n_gpu_layers": -1,
    "n_cpu_moe": 0,
    "split_mode": "layer",
    "main_gpu": 0,
    "no_kv_offload": False,
    "devices": "auto",
    "tensor_split": "0.00",
    "tensor_buft_overrides": "none",
    "embeddings": False,
    "no_op_offload": 0,
    "no_host": False,
    "fit_target": 0,
    "fit_min_ctx": 0,
}
"""What llmpi leaves as llama.cpp has it, and a build number, which its engine does not tell."""

FIELDS = (
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "cpu_mask",
    "cpu_strict",
    "poll",
    "type_k",
    "type_v",
    "n_gpu_layers",
    "n_cpu_moe",
    "split_mode",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "devices",
    "tensor_split",
    "tensor_buft_overrides",
    "load_mode",
    "lazy_mode",
    "embeddings",
    "no_op_offload",
    "no_host",
    "repack",
    "fit_target",
    "fit_min_ctx",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
)
"""In llama-bench's order (`test::get_fields` of tools/llama-bench/llama-bench.cpp at the engine's
commit)."""

AS_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""enum llama_flash_attn_type (llama.h)."""


def write_llama_bench(path: Path, study: Study, records: Records) -> None:
    """Write the speeds of all sessions that were measured, one JSON object a line, atomically."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for session, workloads in sessions(study).items():
            manifest = records.files[session.variant]
            if manifest["status"] == "ok":
                for name in (w for w in workloads if w in study.single_workloads):
                    cell = single(records.sessions[session], name)
                    for line in _lines(study, session, name, cell, manifest):
                        file.write(AS_JSON(line) + "\n")


def _lines(
    study: Study,
    session: SessionId,
    workload: str,
    measured: Single | Failed | NotRun,
    manifest: Gguf,
) -> Iterator[Line]:
    """The tests of a cell; none where it failed, or another engine was measured over HTTP.

    They are of three kinds: its prompt (`n_prompt`), its generation behind that prompt (`n_gen` at
    an `n_depth` of the prompt's tokens), and the generation at each of its depths. Warm-up
    repetitions are left out, as llama-bench's are.
    """
    if not isinstance(measured, Single) or "endpoint" in measured.how:
        return
    same = _conditions(session, measured, manifest)
    where = {"llmpi": {"study": study.study, **session._asdict(), "workload": workload}}
    prompt, repetitions = measured.cell["workload"]["prompt_tokens"], measured.cell["repetitions"]
    yield {**_test(same, [r["pp_s"] for r in repetitions], n_prompt=prompt), **where}
    depths = [(depth["depth_tokens"], depth["repetitions"]) for depth in measured.cell["depths"]]
    for depth, timed in [(prompt, repetitions), *depths]:
        seconds, count = [sum(r["itl_s"]) for r in timed], len(timed[0]["itl_s"])
        yield {**_test(same, seconds, n_gen=count, n_depth=depth), **where}


def _conditions(session: SessionId, measured: Single, manifest: Gguf) -> Line:
    how = measured.how
    settings, environment = how["settings"], how["environment"]
    engine = environment["engine"]
    assert settings and engine  # an endpoint's cell has no line
    started = datetime.fromisoformat(measured.session["started"])
    mapped = {"mmap": settings["mmap"], "mlock": settings["mlock"]}
    return {
        **SAME,
        "build_commit": engine["llama_cpp_commit"],
        "cpu_info": environment["machine"]["cpu"],
        "model_filename": layout.at(layout.GGUF, model=session.model, quant=session.quant),
        "model_type": f"{manifest['architecture']} {manifest['parameters'] / 1e6:.0f}M "
        f"{session.quant}",
        "model_size": sum(kind["bytes"] for kind in manifest["tensors_by_type"].values()),
        "model_n_params": manifest["parameters"],
        "n_batch": settings["batch_tokens"],
        "n_ubatch": settings["ubatch_tokens"],
        "n_threads": settings["threads"],
        "type_k": settings["kv_cache"],
        "type_v": settings["kv_cache"],
        "flash_attn": FLASH_ATTENTION[settings["flash_attention"]],
        "load_mode": "+".join(name for name, on in mapped.items() if on) or "none",
        "lazy_mode": settings["lazy"],
        "repack": settings["repack"],
        "test_time": f"{started:%Y-%m-%dT%H:%M:%SZ}",
    }


def _test(
    same: Line, seconds: Sequence[float], *, n_prompt: int = 0, n_gen: int = 0, n_depth: int = 0
) -> Line:
    """One line. Means and sample standard deviations, as llama-bench has them; 0 of one sample."""
    nanoseconds = [round(s * 1e9) for s in seconds]
    speeds = [(n_prompt + n_gen) / s for s in seconds]
    several = len(seconds) > 1
    found = {
        **same,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
        "n_depth": n_depth,
        "avg_ns": round(statistics.fmean(nanoseconds)),
        "stddev_ns": round(deviation(nanoseconds)) if several else 0,
        "avg_ts": statistics.fmean(speeds),
        "stddev_ts": deviation(speeds) if several else 0.0,
        "samples_ns": nanoseconds,
        "samples_ts": speeds,
    }
    return {name: found[name] for name in FIELDS}
