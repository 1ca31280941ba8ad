"""Our own measurement, as the product runs it, of one workload of one file."""

from pathlib import Path
from typing import Any

from llmpi.engine.supervise import Death, supervise
from llmpi.study.measuring import ConcurrentWorkload, Runtime, Workload


def repetitions(gguf: Path, threads: int, **workload: Any) -> list[dict[str, Any]]:
    """The repetitions of a session with one workload (fields of `llmpi.study.Workload`)."""
    return _cell(gguf, threads, Workload.model_validate(workload))["repetitions"]


def levels(gguf: Path, threads: int, **workload: Any) -> list[dict[str, Any]]:
    """What was measured side by side (fields of `llmpi.study.ConcurrentWorkload`)."""
    asked = ConcurrentWorkload.model_validate({"kind": "concurrent", **workload})
    return _cell(gguf, threads, asked)["levels"]


def _cell(gguf: Path, threads: int, workload: Workload | ConcurrentWorkload) -> dict[str, Any]:
    job = {
        "what": "benchmark",
        "gguf": str(gguf),
        "threads": threads,
        "runtime": Runtime().model_dump(),
        "workloads": {"one": workload.model_dump()},
        "rest": {"idle_s": 0, "cool_below_c": None, "cool_limit_s": 0},
    }
    record = supervise("llmpi.device.measure.process", job, log=lambda _: None)
    if isinstance(record, Death):
        raise SystemExit(f"our measurement failed: {record.reason}\n{record.tail}")
    return record["workloads"]["one"]
