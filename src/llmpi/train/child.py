"""The child process that learns and makes a GGUF file: torch lives only there."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

from llmpi import needs
from llmpi.accidents import check_memory, supervise
from llmpi.device.machine import capacity
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.records import failed, whole_file
from llmpi.script import tell


class Outcome(TypedDict):
    """What it writes: the manifest; or why it refused, or what spoilt this cell."""

    made: Gguf | None
    refused: str | None
    spoilt: str | None


SCRATCH = "scratch"
"""Beside the checkpoints: what is of no use to another process."""
ENVIRONMENT = {
    # Threads that wait spin by default, which on a machine that does other work, too, takes the
    # core from the thread they wait for: a step took six times as long.
    "OMP_WAIT_POLICY": "passive",
    # Matrix products of CUDA are reproducible with this setting only (cuBLAS, "Results
    # reproducibility").
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # A step needs what the step before gave back: glibc shall not hand it to the kernel between
    # (mallopt(3); 32 MiB is the most that it takes).
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}


def made_in_child(
    entry: str,
    job: Callable[[Path], Mapping[str, object]],  # each entry knows its own
    out: Path,
    *,
    checkpoints: Path,
    stage: str,
    who: str,
) -> Gguf | Failed:
    """Make `out` in a process, and return its manifest; what spoils this cell only leaves an empty
    file.

    Args:
        entry: the module that is run.
        job: what it is asked, by where it is to put the file; called once what a killed one left
            is gone.
        checkpoints: a folder that is removed when there is a manifest, since a failure that is
            recorded is final, too; and kept at any other end.
        stage: of a cell that failed.
        who: dies, in words.

    Raises:
        LlmpiError: it refused.
        AccidentError: the memory or the disk did not suffice.
    """
    # What else it needs it says itself, where it can be loaded.
    check_memory(needs.MB * needs.TORCH_MB, capacity.memory_bytes(), who)
    shutil.rmtree(checkpoints / SCRATCH, ignore_errors=True)  # of one that was killed
    with whole_file(out) as partial:
        asked = job(partial)
        outcome = supervise(entry, asked, writes=Outcome, log=tell, environment=ENVIRONMENT)
        record = _record(outcome, stage, who)
        if record["status"] != "ok":
            partial.write_bytes(b"")
    shutil.rmtree(checkpoints, ignore_errors=record["status"] != "ok")  # that had none, maybe
    return record


def _record(outcome: Outcome | Death, stage: str, who: str) -> Gguf | Failed:
    if isinstance(outcome, Death):
        reason = outcome.reason.replace("the engine", who, 1)
        return failed(stage, reason, log_tail=outcome.tail)
    if outcome["made"]:
        return outcome["made"]
    if outcome["refused"]:
        raise LlmpiError(outcome["refused"])
    return failed(stage, outcome["spoilt"] or "")
