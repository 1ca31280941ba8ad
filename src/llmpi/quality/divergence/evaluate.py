"""Perplexity of a model on a text, and KL divergence from a reference, as llama-perplexity does it.

The window rule (tools/perplexity/perplexity.cpp of llama.cpp): the text's tokens are cut into
chunks of a window each, the first token of a chunk is replaced by BOS where the vocabulary wants
one, and what is scored are the predictions made in the second half of the window, so that each has
at least half a window of context. The rest of the text, shorter than a window, is left out.

The reference's log-probabilities are written once, in llama-perplexity's own file format
(--kl-divergence-base), and compared with any number of variants. The engine runs in a child process
(`python -m llmpi.quality.divergence.evaluate JOB OUT`).
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from typing_extensions import TypedDict

from llmpi.accidents import supervise
from llmpi.engine import info as engine_info
from llmpi.engine.llama import EngineError
from llmpi.engine.progress import say
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.divergence.chunks import Partial, score_chunks, write_rows
from llmpi.quality.divergence.log_probs import (
    LogProbs,
    Values,
    compare,
    positions_of,
    score,
)
from llmpi.quality.divergence.records import (
    Corpus,
    Cut,
    CutWithin,
    DivergenceMeasured,
    DivergencePositions,
    DivergenceScored,
    Perplexity,
    PerplexityMeasured,
    ReferenceRun,
    TextIdentity,
    Vocabulary,
)
from llmpi.quality.divergence.summaries import RESAMPLING, summarize, summarize_alone
from llmpi.quality.divergence.windows import UBATCH_TOKENS, Windows, cut
from llmpi.quality.records import Computation, VariantFile
from llmpi.records import now
from llmpi.script import tell


class _Job(TypedDict):
    gguf: str
    gguf_sha256: str
    threads: int
    computation: Computation
    partial: str
    """Folder of what is done so far."""
    window_tokens: int


class TextToCut(TypedDict):
    """A text, and how it is to be cut."""

    corpus: TextIdentity
    text: str
    window_tokens: int
    chunks: int | None


class PerplexityJob(_Job, TextToCut):
    task: Literal["perplexity", "reference"]
    rows: str | None
    """File for the reference's log-probabilities, and"""
    max_bytes: int | None
    """how large it may become."""


class DivergenceJob(_Job):
    task: Literal["divergence"]
    rows: str
    """The reference's log-probabilities."""
    reference: ReferenceRun
    corpus: TextIdentity
    vocabulary: Vocabulary
    chunks: int
    wanted_chunks: int
    available_chunks: int


class PerplexityOutcome(TypedDict):
    """What the child writes: what it measured, or why it refused to."""

    measured: PerplexityMeasured | None
    refused: str | None


class DivergenceOutcome(TypedDict):
    measured: DivergenceMeasured | None
    refused: str | None


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
    record = _perplexity(job)
    if record["status"] != "ok":
        out.write_bytes(b"")
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
    ended = supervise(__name__, job, writes=DivergenceOutcome, log=tell)
    if isinstance(ended, Death):
        return ended.failed("quality")
    measured = _kept(ended["measured"], ended["refused"], partial)
    return {"status": "ok", **measured, "started": started, "ended": now()}


def _perplexity(job: PerplexityJob) -> Perplexity | Failed:
    started = now()
    ended = supervise(__name__, job, writes=PerplexityOutcome, log=tell)
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


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Do one job; progress goes to stderr."""
    engine_info.log_to(sys.stderr.write)
    asked: PerplexityJob | DivergenceJob = json.loads(Path(job).read_text(encoding="utf-8"))
    measured, refused = None, None
    try:
        measured = measure(asked)
    except EngineError as error:
        sys.exit(str(error))
    except LlmpiError as error:
        refused = str(error)
    Path(out).write_text(json.dumps({"measured": measured, "refused": refused}), encoding="utf-8")


def measure(job: PerplexityJob | DivergenceJob) -> PerplexityMeasured | DivergenceMeasured:
    """
    Raises:
        LlmpiError, EngineError: as `perplexity`, `reference` and `divergence` say.
    """
    gguf, window_tokens = Path(job["gguf"]), job["window_tokens"]
    with Windows(gguf, window_tokens, job["threads"], job["computation"]) as model:
        if job["task"] == "divergence":
            return _measure_divergence(job, model)
        return _measure_perplexity(job, model)


def _measure_divergence(job: DivergenceJob, model: Windows) -> DivergenceMeasured:
    engine = engine_info.describe()
    held = _matching_rows(job, model)
    identity = {
        "task": job["task"],
        "gguf_sha256": job["gguf_sha256"],
        "threads": job["threads"],
        "computation": job["computation"],
        "reference": job["reference"],
        "corpus": job["corpus"],
        "vocabulary": job["vocabulary"],
        "window_tokens": job["window_tokens"],
        "chunks": job["chunks"],
        "engine": engine,
    }
    partial = Partial(Path(job["partial"]), identity)
    values = score_chunks(model, held.tokens, held.rows, compare, partial, job["threads"])
    return {
        "task": job["task"],
        "summary": summarize(values),
        "resampling": RESAMPLING,
        "window_tokens": job["window_tokens"],
        "chunks": len(held.tokens),
        "available_chunks": job["available_chunks"],
        "wanted_chunks": job["wanted_chunks"],
        "positions_per_chunk": positions_of(job["window_tokens"]),
        "corpus": job["corpus"],
        "vocabulary": model.vocabulary(),
        "gguf_sha256": job["gguf_sha256"],
        "reference": job["reference"],
        "engine": engine,
        "threads": job["threads"],
        "computation": job["computation"],
        "batching": _batching(model),
        "chunk_sums": [
            {"nll": nll, "reference_nll": reference_nll, "kld": kld, "same_top1": same}
            for nll, reference_nll, kld, same in values.sum(axis=2).T.tolist()
        ],
        "positions": _positions(values),
    }


def _positions(values: Values) -> DivergencePositions:
    nll, reference_nll, kld, _ = (
        [[float(f"{value:.9g}") for value in chunk] for chunk in of_quantity]
        for of_quantity in values.tolist()
    )
    return {"nll": nll, "reference_nll": reference_nll, "kld": kld}


def _measure_perplexity(job: PerplexityJob, model: Windows) -> PerplexityMeasured:
    engine = engine_info.describe()
    text = cut(model.tokenize(job["text"]), job["window_tokens"])
    wanted = min(len(text), job["chunks"] or len(text))
    tokens = text[: _fitting(job, wanted, model.vocab_tokens)]
    identity = {
        "task": job["task"],
        "gguf_sha256": job["gguf_sha256"],
        "threads": job["threads"],
        "computation": job["computation"],
        "corpus": job["corpus"],
        "window_tokens": job["window_tokens"],
        "chunks": job["chunks"],
        "max_bytes": job["max_bytes"],
        "engine": engine,
    }
    partial = Partial(Path(job["partial"]), identity)
    if job["rows"] is None:
        no_rows = np.empty((*tokens.shape, 0), np.uint16)
        values = score_chunks(model, tokens, no_rows, score, partial, job["threads"])
    else:
        values = write_rows(model, tokens, Path(job["rows"]), partial, job["threads"])
    return {
        "task": job["task"],
        "summary": summarize_alone(values),
        "window_tokens": job["window_tokens"],
        "chunks": len(tokens),
        "available_chunks": len(text),
        "wanted_chunks": wanted,
        "positions_per_chunk": positions_of(job["window_tokens"]),
        "corpus": job["corpus"],
        "vocabulary": model.vocabulary(),
        "gguf_sha256": job["gguf_sha256"],
        "reference": None,
        "engine": engine,
        "threads": job["threads"],
        "computation": job["computation"],
        "batching": _batching(model),
        "chunk_sums": [{"nll": nll} for [nll] in values.sum(axis=2).T.tolist()],
    }


def _batching(model: Windows) -> str:
    return f"{model.at_once} windows of {model.window_tokens}, n_ubatch {UBATCH_TOKENS}"


def _fitting(job: PerplexityJob, wanted: int, vocab_tokens: int) -> int:
    """How many of the wanted chunks the job's file may hold, if it has one."""
    if job["max_bytes"] is None:
        return wanted
    fitting = LogProbs.fitting(job["max_bytes"], job["window_tokens"], vocab_tokens)
    if fitting < wanted:
        say(f"{fitting} of {wanted} chunks fit into max_bytes, {job['max_bytes'] / 1e6:g} MB")
    return min(fitting, wanted)


def _matching_rows(job: DivergenceJob, model: Windows) -> LogProbs:
    held = LogProbs.open(Path(job["rows"]))
    told = (job["chunks"], job["window_tokens"]), job["vocabulary"]["tokens"]
    if (held.tokens.shape, held.vocab_tokens) != told:
        raise LlmpiError(
            f"{job['rows']} is not the file its manifest tells of; delete both and run again"
        )
    mine, theirs = model.vocabulary(), job["vocabulary"]
    if mine != theirs:
        raise LlmpiError(
            f"{job['gguf']} has another vocabulary ({mine['tokens']} tokens) than its reference "
            f"({theirs['tokens']}): a variant and its reference must be made of the same model"
        )
    return held


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
