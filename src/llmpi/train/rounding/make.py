"""Learn the rounding of a model for a quantization type, and make the GGUF file of it.

The work is done in a child process (`python -m llmpi.train.rounding JOB OUT`): torch lives only
there.
"""

from pathlib import Path
from typing import TypedDict

from llmpi import needs
from llmpi.accidents import check_room
from llmpi.device.machine import capacity
from llmpi.engine.records import Failed
from llmpi.gguf.quantize import check_imatrix
from llmpi.gguf.records import Gguf, Imatrix, Start
from llmpi.quality.divergence.records import Corpus, TextIdentity
from llmpi.study.training import Rounding
from llmpi.train.child import made_in_child

ENTRY = "llmpi.train.rounding"


class Job(TypedDict):
    """What the process is to do."""

    base: str
    base_manifest: Start
    out: str
    quant: str
    steps: int
    windows: int
    corpus: TextIdentity
    text: str
    imatrix: str | None
    imatrix_manifest: Imatrix | None
    checkpoints: str
    threads: int


def learn_rounding(
    base: Path,
    base_manifest: Start | Failed,
    out: Path,
    *,
    quant: str,
    settings: Rounding,
    corpus: Corpus | Failed,
    imatrix: Path | None = None,
    imatrix_manifest: Imatrix | Failed | None = None,
    checkpoints: Path,
    threads: int | None = None,
) -> Gguf | Failed:
    """Make `out` from `base` with a rounding that is learned, and return its manifest.

    Whatever spoils this cell only leaves an empty file and a manifest with status `failed`, as
    `llmpi.gguf.quantize.quantize` does.

    Args:
        base: the F16 GGUF that every quantization of the model starts from.
        base_manifest: of `base`, of which hash and lineage count; a failed one is passed on.
        quant: `Q4_0+round`, `Q4_0+round+imatrix`; which tensor gets which type is llama.cpp's
            choice, and its rounding of what no block holds.
        corpus: a failed one is passed on.
        imatrix, imatrix_manifest: as `quantize` takes them.
        checkpoints: a folder for the blocks that are done, so that what is interrupted goes on
            where it stopped, to the same file; removed when there is a manifest, kept at any
            other end.
        threads: at most; by default, and never more than, one for each core.

    Raises:
        LlmpiError: the text is too short, or the variant and the matrix do not go together.
        AccidentError: the memory or the disk did not suffice; the blocks that are done are kept.
    """
    check_imatrix(quant, base_manifest, imatrix_manifest)
    for needed in (base_manifest, corpus, imatrix_manifest):
        if needed and needed["status"] != "ok":
            out.touch()
            return needed
    assert base_manifest["status"] == corpus["status"] == "ok"
    cores = capacity.processors()

    def job(partial: Path) -> Job:
        held = sum(path.stat().st_size for path in checkpoints.glob("*.pt"))
        room = needs.rounding_disk_bytes(base.stat().st_size) - held
        check_room(checkpoints, room, f"the rounding of {quant}")
        return {
            "base": str(base),
            "base_manifest": base_manifest,
            "out": str(partial),
            "quant": quant,
            "steps": settings.steps,
            "windows": settings.windows,
            "corpus": {"source": corpus["source"], "sha256": corpus["sha256"]},
            "text": corpus["text"],
            "imatrix": str(imatrix) if imatrix else None,
            "imatrix_manifest": imatrix_manifest and _sound(imatrix_manifest),
            "checkpoints": str(checkpoints),
            "threads": min(threads or cores, cores),
        }

    return made_in_child(
        ENTRY, job, out, checkpoints=checkpoints, stage="quantize", who="what learns the rounding"
    )


def _sound(manifest: Imatrix | Failed) -> Imatrix:
    assert manifest["status"] == "ok"
    return manifest
