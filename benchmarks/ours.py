"""Our own measurement, as the product runs it, of one workload of one file."""

from pathlib import Path
from typing import Any

from llmpi.device.supervise import Death, supervise
from llmpi.study import Runtime, Workload


def repetitions(gguf: Path, threads: int, **workload: Any) -> list[dict[str, Any]]:
    """The repetitions of a session with one workload (fields of `llmpi.study.Workload`)."""
    job = {
        "what": "benchmark",
        "gguf": str(gguf),
        "threads": threads,
        "runtime": Runtime().model_dump(),
        "workloads": {"one": Workload.model_validate(workload).model_dump()},
        "rest": {"idle_s": 0, "cool_below_c": None, "cool_limit_s": 0},
    }
    record = supervise("llmpi.device.measure", job, log=lambda _: None)
    if isinstance(record, Death):
        raise SystemExit(f"our measurement failed: {record.reason}\n{record.tail}")
    return record["workloads"]["one"]["repetitions"]
