"""An importance matrix of a model: what its weights are multiplied with while it reads a text.

The engine runs in a child process (`python -m llmpi.gguf.calibrate JOB OUT`): it may die of a
signal.
"""

import json
import sys
from pathlib import Path
from typing import TypedDict

import numpy as np

from llmpi.accidents import supervise
from llmpi.engine.progress import Progress
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.records import Imatrix, MatrixMeasured
from llmpi.quality.records import VariantFile
from llmpi.records import failed, now, sha256_of, sha256_of_text, whole_file
from llmpi.script import tell


class Job(TypedDict):
    """What the child is to do."""

    gguf: str
    text: str
    corpus: str
    """What names the text."""
    chunks: int | None
    threads: int
    out: str


class Outcome(TypedDict):
    """What the child writes: what it measured, or why it did not."""

    measured: MatrixMeasured | None
    refused: str | None


def calibrate(
    base: Path,
    base_manifest: VariantFile | Failed,
    text: str,
    out: Path,
    *,
    chunks: int | None,
    threads: int,
) -> Imatrix | Failed:
    """Write the importance matrix of `base` on `text` to `out`, and return its manifest.

    An engine that dies by itself leaves an empty file and a manifest with status `failed`.

    Args:
        base: GGUF of the model that is to be quantized, as wide as it is to be had.
        base_manifest: of `base`; a failed one is passed on.
        text: the calibration corpus.
        chunks: how many chunks of 512 tokens are read at most, from the first on (None: all).

    Raises:
        LlmpiError: the text has less than two chunks, or the file cannot be written.
        AccidentError: the memory or the disk did not suffice; nothing is left.
    """
    if base_manifest["status"] != "ok":
        out.touch()
        return base_manifest
    corpus_sha256 = sha256_of_text(text)
    try:
        with whole_file(out) as partial:
            done = _run(
                {
                    "gguf": str(base),
                    "text": text,
                    "corpus": f"sha256:{corpus_sha256}",
                    "chunks": chunks,
                    "threads": threads,
                    "out": str(partial),
                }
            )
    except CellError as error:
        out.write_bytes(b"")
        return failed("calibrate", str(error))
    return {
        "status": "ok",
        "sha256": sha256_of(out),
        "bytes": out.stat().st_size,
        "corpus_sha256": corpus_sha256,
        **done,
        "source": {"sha256": base_manifest["sha256"]},
        "threads": threads,
        "made": now(),
    }


def _run(job: Job) -> MatrixMeasured:
    ended = supervise(__name__, job, writes=Outcome, log=tell)
    if isinstance(ended, Death):
        raise CellError(ended.reason)
    if ended["measured"]:
        return ended["measured"]
    raise LlmpiError(ended["refused"] or "")


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Do one job; progress goes to stderr."""
    from llmpi.engine import info as engine_info
    from llmpi.engine.llama import EngineError

    engine_info.log_to(sys.stderr.write)
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    outcome: Outcome = {"measured": None, "refused": None}
    try:
        outcome["measured"] = measure(asked)
    except EngineError as error:
        sys.exit(str(error))
    except LlmpiError as error:
        outcome["refused"] = str(error)
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


def measure(job: Job) -> MatrixMeasured:
    """Write the matrix of a job; what a manifest says of it.

    Raises:
        LlmpiError, EngineError: as `calibrate` and `Collector` say.
    """
    from llmpi.engine import info as engine_info
    from llmpi.gguf import imatrix
    from llmpi.gguf.moments import Collector

    with Collector(Path(job["gguf"]), threads=job["threads"]) as model:
        text = chunked(model.plain_tokens(job["text"]), model.chunk_tokens)
        chunks = text[: job["chunks"]]
        progress = Progress(len(chunks), "chunks")
        for done, chunk in enumerate(chunks, 1):
            model.read(chunk)
            progress.at(done)
        imatrix.write(
            Path(job["out"]),
            model.moments,
            corpus=job["corpus"],
            chunks=len(chunks),
            chunk_tokens=model.chunk_tokens,
        )
    return {
        "chunks": len(chunks),
        "wanted_chunks": job["chunks"],
        "available_chunks": len(text),
        "chunk_tokens": model.chunk_tokens,
        "tokens": chunks.size,
        "weights": len(model.moments),
        "engine": engine_info.describe(),
    }


def chunked(tokens: np.ndarray, chunk_tokens: int) -> np.ndarray:
    """Shape (chunks, chunk_tokens); what is left over is left out.

    Raises:
        LlmpiError: there are less than two chunks, which llama-imatrix asks for.
    """
    if len(tokens) < 2 * chunk_tokens:
        raise LlmpiError(
            f"the calibration text has {len(tokens)} tokens, and an importance matrix needs at "
            f"least {2 * chunk_tokens}: take a longer text"
        )
    whole = len(tokens) // chunk_tokens
    return tokens[: whole * chunk_tokens].reshape(whole, chunk_tokens)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
