"""Perplexity of a model on a text, and KL divergence from a reference, as llama-perplexity does it.

The window rule (tools/perplexity/perplexity.cpp of llama.cpp): the text's tokens are cut into
chunks of a window each, the first token of a chunk is replaced by BOS where the vocabulary wants
one, and what is scored are the predictions made in the second half of the window, so that each has
at least half a window of context. The rest of the text, shorter than a window, is left out.

The reference's log-probabilities are written once, in llama-perplexity's own file format
(--kl-divergence-base), and compared with any number of variants. The engine runs in a child process
(`llmpi.quality.divergence.measure`).
"""

import shutil
from pathlib import Path
from typing import TypeVar

from llmpi.accidents import supervise
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.divergence.jobs import (
    DivergenceJob,
    DivergenceOutcome,
    PerplexityJob,
    PerplexityOutcome,
    TextToCut,
    unfinished,
)
from llmpi.quality.divergence.records import (
    Corpus,
    Cut,
    CutWithin,
    DivergenceScored,
    Perplexity,
)
from llmpi.quality.records import Computation, VariantFile
from llmpi.records import now
from llmpi.script import tell

CHILD = "llmpi.quality.divergence.measure"


def perplexity(
    gguf: Path,
    manifest: VariantFile | Failed,
    corpus: Corpus,
    settings: Cut,
    *,
    partial: Path,
    threads: int,
) -> Perplexity | Failed:
    """The perplexity of a model on a corpus. A death of its own is a result, too.

    Args:
        gguf, manifest: of the model; a failed manifest is passed on.
        partial: a folder for what is done so far, so that an interrupted run goes on where it
            stopped, with the same result; removed at the end.

    Raises:
        LlmpiError: the corpus is too short, or the window too long for the model.
    """
    if manifest["status"] != "ok":
        return manifest
    job: PerplexityJob = {
        "task": "perplexity",
        "gguf": str(gguf),
        "gguf_sha256": manifest["sha256"],
        "threads": threads,
        "computation": BY_DEFAULT,
        "partial": str(partial),
        **_cut(corpus, settings),
        "max_bytes": None,
        "rows": None,
    }
    return _perplexity(job)


def reference(
    gguf: Path,
    manifest: VariantFile | Failed,
    corpus: Corpus,
    settings: CutWithin,
    *,
    out: Path,
    partial: Path,
    threads: int,
) -> Perplexity | Failed:
    """Write the log-probabilities of a model on a corpus to `out`, and return their manifest.

    Where that fails, `out` is an empty file, and the manifest says why.
    Of a corpus that needs more than `max_bytes`, only so many chunks are taken as fit.

    Raises:
        LlmpiError: as for `perplexity`; not even one chunk fits, or the disk has no room.
    """
    if manifest["status"] != "ok":
        out.write_bytes(b"")
        return manifest
    job: PerplexityJob = {
        "task": "reference",
        "gguf": str(gguf),
        "gguf_sha256": manifest["sha256"],
        "threads": threads,
        "computation": BY_DEFAULT,
        "partial": str(partial),
        **_cut(corpus, settings),
        "max_bytes": settings["max_bytes"],
        "rows": str(out),
    }
    try:
        record = _perplexity(job)
    finally:
        if not partial.is_dir():  # a child that was killed before its first chunk left its rows
            unfinished(out).unlink(missing_ok=True)
    if record["status"] != "ok":
        out.write_bytes(b"")
        unfinished(out).unlink(missing_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
    return record


def divergence(
    gguf: Path,
    manifest: VariantFile | Failed,
    rows: Path,
    rows_manifest: Perplexity | Failed,
    computation: Computation = BY_DEFAULT,
    *,
    partial: Path,
    threads: int,
) -> DivergenceScored | Failed:
    """Perplexity of a variant, and how far its predictions are from the reference's.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        rows, rows_manifest: of `reference`; a failed one is passed on.
        computation: how the variant is computed; the reference is computed by default.
        partial, threads: as for `perplexity`.

    Raises:
        LlmpiError: the vocabularies differ, or `rows` is not what its manifest says.
    """
    if manifest["status"] != "ok":
        return manifest
    if rows_manifest["status"] != "ok":
        return rows_manifest
    job: DivergenceJob = {
        "task": "divergence",
        "gguf": str(gguf),
        "gguf_sha256": manifest["sha256"],
        "threads": threads,
        "computation": computation,
        "partial": str(partial),
        "rows": str(rows),
        "reference": {
            "gguf_sha256": rows_manifest["gguf_sha256"],
            "engine": rows_manifest["engine"],
            "threads": rows_manifest["threads"],
        },
        "corpus": rows_manifest["corpus"],
        "vocabulary": rows_manifest["vocabulary"],
        "window_tokens": rows_manifest["window_tokens"],
        "chunks": rows_manifest["chunks"],
        "wanted_chunks": rows_manifest["wanted_chunks"],
        "available_chunks": rows_manifest["available_chunks"],
    }
    started = now()
    ended = supervise(CHILD, job, writes=DivergenceOutcome, log=tell)
    if isinstance(ended, Death):
        return ended.failed("quality")
    measured = _kept(ended["measured"], ended["refused"], partial)
    return {"status": "ok", **measured, "started": started, "ended": now()}


def _perplexity(job: PerplexityJob) -> Perplexity | Failed:
    started = now()
    ended = supervise(CHILD, job, writes=PerplexityOutcome, log=tell)
    if isinstance(ended, Death):
        return ended.failed("quality")
    measured = _kept(ended["measured"], ended["refused"], Path(job["partial"]))
    return {"status": "ok", **measured, "started": started, "ended": now()}


def _cut(corpus: Corpus, settings: Cut) -> TextToCut:
    return {
        "corpus": {"source": corpus["source"], "sha256": corpus["sha256"]},
        "text": corpus["text"],
        "window_tokens": settings["window_tokens"],
        "chunks": settings["chunks"],
    }


Measured = TypeVar("Measured")


def _kept(measured: Measured | None, refused: str | None, partial: Path) -> Measured:
    """What the child measured; what was done on the way is not needed any more.

    Raises:
        LlmpiError: it refused.
    """
    shutil.rmtree(partial, ignore_errors=True)
    if measured is None:
        raise LlmpiError(refused or "")
    return measured
