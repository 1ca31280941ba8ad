"""In a child process: read a text with a model, and score what it predicts.

`python -m llmpi.quality.divergence.measure JOB OUT`, for `llmpi.quality.divergence.evaluate`.
"""

import json
import sys
from pathlib import Path

import numpy as np

from llmpi.engine import info as engine_info
from llmpi.engine.llama import EngineError
from llmpi.engine.progress import say
from llmpi.errors import LlmpiError
from llmpi.quality.divergence.chunks import Partial, score_chunks, write_rows
from llmpi.quality.divergence.jobs import DivergenceJob, PerplexityJob
from llmpi.quality.divergence.log_probs import (
    LogProbs,
    Values,
    compare,
    positions_of,
    score,
)
from llmpi.quality.divergence.records import (
    DivergenceMeasured,
    DivergencePositions,
    PerplexityMeasured,
)
from llmpi.quality.divergence.summaries import RESAMPLING, summarize, summarize_alone
from llmpi.quality.divergence.windows import UBATCH_TOKENS, Windows, cut


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
