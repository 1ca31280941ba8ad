"""Train a model for a quantization type, and make the GGUF file of it.

The work is done in a child process (`python -m llmpi.train JOB OUT`): torch lives only there.
"""

import shutil
from pathlib import Path
from typing import TypedDict

from llmpi import needs
from llmpi.accidents import check_room, supervise
from llmpi.device.machine import capacity
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf, Start, TrainingSettings
from llmpi.quality.divergence.records import Corpus, TextIdentity
from llmpi.records import failed, whole_file
from llmpi.script import tell
from llmpi.study.training import Training

ENTRY = "llmpi.train"


class Job(TypedDict):
    """What the process is to do."""

    base: str
    base_manifest: Start
    out: str
    quant: str
    settings: TrainingSettings
    corpus: TextIdentity
    text: str
    checkpoints: str
    threads: int


class Outcome(TypedDict):
    """What it writes: the manifest; or why it refused, or what spoilt this cell."""

    made: Gguf | None
    refused: str | None
    spoilt: str | None


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


def train_qat(
    base: Path,
    base_manifest: Start | Failed,
    out: Path,
    *,
    quant: str,
    settings: Training,
    corpus: Corpus | Failed,
    checkpoints: Path,
    threads: int | None = None,
) -> Gguf | Failed:
    """Make `out` from `base` by quantization-aware training and return its manifest.

    Whatever spoils this cell only leaves an empty file and a manifest with status `failed`, as
    `llmpi.gguf.quantize.quantize` does.

    Args:
        base: the F16 GGUF that every quantization of the model starts from.
        base_manifest: of `base`, of which hash and lineage count; a failed one is passed on.
        quant: a name of `FTYPES`; which tensor gets which type is llama.cpp's choice.
        corpus: a failed one is passed on.
        checkpoints: a folder for what is done so far, so that an interrupted training goes on
            where it stopped, to the same weights; removed at a good end, kept at any other.
        threads: at most; by default, and never more than, one for each core.

    Raises:
        LlmpiError: the text is too short.
        AccidentError: the memory or the disk did not suffice; the checkpoints are left.
    """
    for needed in (base_manifest, corpus):
        if needed["status"] != "ok":
            out.touch()
            return needed
    assert base_manifest["status"] == corpus["status"] == "ok"
    cores = capacity.processors()
    held = sum(path.stat().st_size for path in checkpoints.glob("*.pt"))
    room = needs.training_disk_bytes(base.stat().st_size) - held
    check_room(checkpoints, room, f"training for {quant}")
    with whole_file(out) as partial:
        job: Job = {
            "base": str(base),
            "base_manifest": base_manifest,
            "out": str(partial),
            "quant": quant,
            "settings": said(settings),
            "corpus": {"source": corpus["source"], "sha256": corpus["sha256"]},
            "text": corpus["text"],
            "checkpoints": str(checkpoints),
            "threads": min(threads or cores, cores),
        }
        outcome = supervise(ENTRY, job, writes=Outcome, log=tell, environment=ENVIRONMENT)
        record = _record(outcome)
        if record["status"] != "ok":
            partial.write_bytes(b"")
    if record["status"] == "ok":
        shutil.rmtree(checkpoints)
    return record


def _record(outcome: Outcome | Death) -> Gguf | Failed:
    if isinstance(outcome, Death):
        reason = outcome.reason.replace("the engine", "the training", 1)
        return failed("train", reason, log_tail=outcome.tail)
    if outcome["made"]:
        return outcome["made"]
    if outcome["refused"]:
        raise LlmpiError(outcome["refused"])
    return failed("train", outcome["spoilt"] or "")


def said(settings: Training) -> TrainingSettings:
    """As the config has it, and a manifest."""
    return {
        "steps": settings.steps,
        "sequences": settings.sequences,
        "sequence_tokens": settings.sequence_tokens,
        "accumulation": settings.accumulation,
        "recompute": settings.recompute,
        "bf16": settings.bf16,
        "learning_rate": settings.learning_rate,
        "warmup_share": settings.warmup_share,
        "final_rate_share": settings.final_rate_share,
        "weight_decay": settings.weight_decay,
        "clip_norm": settings.clip_norm,
        "distill": settings.distill,
        "temperature": settings.temperature,
        "hidden_weight": settings.hidden_weight,
        "held_out_share": settings.held_out_share,
        "held_out_sequences": settings.held_out_sequences,
        "evaluate_every": settings.evaluate_every,
        "patience": settings.patience,
        "seed": settings.seed,
    }
