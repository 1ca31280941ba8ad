"""Train a model for a quantization type, and make the GGUF file of it.

The work is done in a child process (`python -m llmpi.train JOB OUT`): torch lives only there, and a
process that is killed for memory spoils one cell.
"""

import logging
import os
import shutil
from pathlib import Path

from llmpi.engine.supervise import Death, supervise
from llmpi.errors import LlmpiError
from llmpi.records import Record, failed, is_ok, whole_file
from llmpi.script import tell
from llmpi.study.training import Training

log = logging.getLogger(__name__)

ENTRY = "llmpi.train"
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
    base_manifest: Record,
    out: Path,
    *,
    quant: str,
    spec: Record,
    corpus: Record,
    checkpoints: Path,
) -> Record:
    """Make `out` from `base` by quantization-aware training and return its manifest.

    Whatever spoils this cell only leaves an empty file and a manifest with status `failed`, as
    `llmpi.gguf.quantize.quantize` does.

    Args:
        base: the F16 GGUF that every quantization of the model starts from.
        base_manifest: of `base`; a failed one is passed on.
        quant: a name of `FTYPES`; which tensor gets which type is llama.cpp's choice.
        spec: fields of `llmpi.study.Training`; what is left out has its default.
        corpus: of `llmpi.quality.divergence.corpus.load_corpus`; a failed one is passed on.
        checkpoints: a folder for what is done so far, so that an interrupted training goes on
            where it stopped, to the same weights; removed at a good end, kept at any other.

    Returns:
        What `quantize` says of a file, and `training`: `settings`, `corpus` (source and sha256),
        `history` (one record for each look at the held-out text: `step`, `loss`, `nll`,
        `train_loss`, `seconds`), `before` and `after` (the looks at what was quantized without
        training, and at what is in the file), `train_windows` and `held_out_windows`, `steps`,
        `seconds`, `device`, `torch`, and `verified`, the number of tensors whose bytes were
        compared with those that training saw.

    Raises:
        LlmpiError: `spec` is wrong, or the text too short.
        OSError: the file cannot be written.
    """
    for needed in (base_manifest, corpus):
        if not is_ok(needed):
            out.touch()
            return needed
    wanted = Training(**spec)
    with whole_file(out) as partial:
        job = {
            "base": str(base),
            "base_manifest": base_manifest,
            "out": str(partial),
            "quant": quant,
            "settings": wanted.model_dump(),
            "corpus": {name: corpus[name] for name in ("source", "sha256", "text")},
            "checkpoints": str(checkpoints),
        }
        outcome = supervise(ENTRY, job, log=tell, environment=ENVIRONMENT)
        record = _record(outcome, quant, partial)
        if not is_ok(record):
            log.error("training for %s failed: %s", quant, record["reason"])
            partial.write_bytes(b"")
    if is_ok(record):
        shutil.rmtree(checkpoints)
    return record


def _record(outcome: Record | Death, quant: str, partial: Path) -> Record:
    if isinstance(outcome, Death):
        free = os.statvfs(partial.parent)
        if free.f_bavail * free.f_frsize < 1 << 20:
            raise OSError(f"no space left for {partial.name} in {partial.parent}")
        reason = outcome.reason.replace("the engine", "the training", 1)
        return failed("train", reason, quant=quant, log_tail=outcome.tail)
    if "refused" in outcome:
        raise LlmpiError(outcome["refused"])
    if "spoilt" in outcome:
        return failed("train", outcome["spoilt"], quant=quant)
    return outcome
