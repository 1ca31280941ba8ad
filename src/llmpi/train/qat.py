"""Train a model for a quantization type, and make the GGUF file of it.

The work is done in a child process (`python -m llmpi.train JOB OUT`): torch lives only there.
"""

from pathlib import Path
from typing import TypedDict

from llmpi.device.machine import capacity
from llmpi.engine.records import Failed
from llmpi.gguf.quantize import check_imatrix
from llmpi.gguf.records import Gguf, Start, TrainingSettings
from llmpi.quality.divergence.records import Corpus, TextIdentity
from llmpi.study.training import Training
from llmpi.train.child import made_in_child

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
    """Make `out` from `base` by quantization-aware training and return its manifest, which says
    whether the whole model was trained at once or block by block (`llmpi.train.way`).

    Whatever spoils this cell only leaves an empty file and a manifest with status `failed`, as
    `llmpi.gguf.quantize.quantize` does.

    Args:
        base: the F16 GGUF that every quantization of the model starts from.
        base_manifest: of `base`, of which hash and lineage count; a failed one is passed on.
        quant: a name of `FTYPES`; which tensor gets which type is llama.cpp's choice.
        corpus: a failed one is passed on.
        checkpoints: a folder for what is done so far, so that an interrupted training goes on
            where it stopped, to the same weights; removed when there is a manifest, kept at any
            other end.
        threads: at most; by default, and never more than, one for each core.

    Raises:
        LlmpiError: the text is too short, or the type wants an importance matrix.
        AccidentError: the memory or the disk did not suffice; the checkpoints are left.
    """
    check_imatrix(quant, base_manifest, None)
    for needed in (base_manifest, corpus):
        if needed["status"] != "ok":
            out.touch()
            return needed
    assert base_manifest["status"] == corpus["status"] == "ok"
    cores = capacity.processors()

    def job(partial: Path) -> Job:
        return {
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

    return made_in_child(
        ENTRY, job, out, checkpoints=checkpoints, stage="train", who="the training"
    )


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
        "by_block": settings.by_block,
        "temperature": settings.temperature,
        "hidden_weight": settings.hidden_weight,
        "held_out_share": settings.held_out_share,
        "held_out_sequences": settings.held_out_sequences,
        "evaluate_every": settings.evaluate_every,
        "patience": settings.patience,
        "seed": settings.seed,
    }
