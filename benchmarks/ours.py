"""Our own measurement, as the product runs it, of one workload of one file."""

from pathlib import Path

from llmpi.device.records import SessionJob
from llmpi.engine.records import (
    Cell,
    LoadedSession,
    MeasuredLevel,
    MeasuredPrefix,
    Repetition,
)
from llmpi.engine.supervise import Death, supervise
from llmpi.remote import requests
from llmpi.study.measuring import (
    AnyWorkload,
    ConcurrentWorkload,
    ConversationWorkload,
    Runtime,
    Workload,
)


def repetitions(gguf: Path, threads: int, **workload: object) -> list[Repetition]:
    """The repetitions of a session with one workload (fields of `Workload`)."""
    cell = _cell(gguf, threads, Workload.model_validate(workload))
    assert cell["status"] == "ok" and cell["kind"] == "single"
    return cell["repetitions"]


def levels(gguf: Path, threads: int, **workload: object) -> list[MeasuredLevel]:
    """What was measured side by side (fields of `ConcurrentWorkload`)."""
    asked = ConcurrentWorkload.model_validate({"kind": "concurrent", **workload})
    cell = _cell(gguf, threads, asked)
    assert cell["status"] == "ok" and cell["kind"] == "concurrent"
    return [level for level in cell["levels"] if level["status"] == "ok"]


def prefixes(gguf: Path, threads: int, **workload: object) -> list[MeasuredPrefix]:
    """What was measured of a conversation (fields of `ConversationWorkload`)."""
    asked = ConversationWorkload.model_validate({"kind": "conversation", **workload})
    cell = _cell(gguf, threads, asked)
    assert cell["status"] == "ok" and cell["kind"] == "conversation"
    return [part for part in cell["prefixes"] if part["status"] == "ok"]


def _cell(gguf: Path, threads: int, workload: AnyWorkload) -> Cell:
    job: SessionJob = {
        "what": "benchmark",
        "gguf": str(gguf),
        "threads": threads,
        "runtime": requests.runtime(Runtime()),
        "workloads": requests.workloads({"one": workload}),
        "meter": {"kind": "none"},
        "rest": {"idle_s": 0, "cool_below_c": None, "cool_limit_s": 0},
        "others_at_most_pct": 100,
        "measured_by": "llmpi.device.measure.process",
        "limits": None,
        "sensors": [],
    }
    record = supervise(
        "llmpi.device.measure.process", job, writes=LoadedSession, log=lambda _: None
    )
    if isinstance(record, Death):
        raise SystemExit(f"our measurement failed: {record.reason}\n{record.tail}")
    return record["workloads"]["one"]
