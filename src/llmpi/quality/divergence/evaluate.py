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
import math
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from llmpi.engine import info as engine_info
from llmpi.engine.llama import EngineError
from llmpi.engine.progress import say
from llmpi.engine.supervise import Death, supervise
from llmpi.errors import LlmpiError
from llmpi.quality.divergence.log_probs import (
    Codes,
    Logits,
    LogProbs,
    Scorer,
    Tokens,
    Values,
    compare,
    positions_of,
    score,
    score_and_encode,
)
from llmpi.quality.divergence.windows import UBATCH_TOKENS, Windows, cut
from llmpi.records import (
    Record,
    failed,
    is_ok,
    now,
    read_json,
    whole_file,
    write_json,
)
from llmpi.script import tell

ROWS_AT_ONCE = 8
"""So many rows of logits stay in the processor's cache while they are scored."""
RESAMPLES = 1000
OF_THE_REFERENCE = (
    "corpus",
    "vocabulary",
    "window_tokens",
    "chunks",
    "wanted_chunks",
    "available_chunks",
)
"""What a divergence takes over from its reference's manifest."""
QUANTITIES = ("nll", "reference_nll", "kld", "same_top1")
"""What a position gives: nats, nats, nats, and 0 or 1. Without a reference, only the first."""


def perplexity(
    gguf: Path,
    manifest: Record,
    corpus: Record,
    settings: dict[str, Any],
    *,
    partial: Path,
    threads: int,
) -> Record:
    """The perplexity of a model on a corpus. An engine that dies is a result, too.

    Args:
        gguf, manifest: of the model; a failed manifest is passed on.
        corpus: of `llmpi.quality.divergence.corpus.load_corpus`.
        settings: `window_tokens`, and `chunks`, how many at most (None: all of the corpus).
        partial: a folder for what is done so far, so that an interrupted run goes on where it
            stopped, with the same result; removed at the end.

    Raises:
        LlmpiError: the corpus is too short, or the window too long for the model.
    """
    if not is_ok(manifest):
        return manifest
    return _run(
        "perplexity", gguf, manifest, _on(corpus, settings), partial=partial, threads=threads
    )


def reference(
    gguf: Path,
    manifest: Record,
    corpus: Record,
    settings: dict[str, Any],
    *,
    out: Path,
    partial: Path,
    threads: int,
) -> Record:
    """Write the log-probabilities of a model on a corpus to `out`, and return their manifest.

    Where that fails, `out` is an empty file, and the manifest says why.

    Args:
        settings: as for `perplexity`, and `max_bytes`, how large `out` may become: of a corpus that
            needs more, only so many chunks are taken as fit.

    Raises:
        LlmpiError: as for `perplexity`; not even one chunk fits, or the disk has no room.
    """
    record = manifest
    if is_ok(manifest):
        work = _on(corpus, settings) | {"max_bytes": settings["max_bytes"], "rows": str(out)}
        record = _run("reference", gguf, manifest, work, partial=partial, threads=threads)
    if not is_ok(record):
        out.write_bytes(b"")
    return record


def divergence(
    gguf: Path,
    manifest: Record,
    rows: Path,
    rows_manifest: Record,
    *,
    partial: Path,
    threads: int,
) -> Record:
    """Perplexity of a variant, and how far its predictions are from the reference's.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        rows, rows_manifest: of `reference`; a failed one is passed on.
        partial, threads: as for `perplexity`.

    Raises:
        LlmpiError: the vocabularies differ, or `rows` is not what its manifest says.
    """
    for needed in (manifest, rows_manifest):
        if not is_ok(needed):
            return needed
    work = {
        "rows": str(rows),
        "reference": {name: rows_manifest[name] for name in ("gguf_sha256", "engine", "threads")},
        **{name: rows_manifest[name] for name in OF_THE_REFERENCE},
    }
    return _run("divergence", gguf, manifest, work, partial=partial, threads=threads)


def _on(corpus: Record, settings: dict[str, Any]) -> Record:
    return {
        "corpus": {name: corpus[name] for name in ("source", "sha256")},
        "text": corpus["text"],
        "window_tokens": settings["window_tokens"],
        "chunks": settings["chunks"],
    }


def _run(
    task: str, gguf: Path, manifest: Record, work: Record, *, partial: Path, threads: int
) -> Record:
    job = {
        "task": task,
        "gguf": str(gguf),
        "gguf_sha256": manifest["sha256"],
        "threads": threads,
        "partial": str(partial),
        **work,
    }
    started = now()
    outcome = supervise(__name__, job, log=tell)
    if isinstance(outcome, Death):
        return failed("quality", outcome.reason, log_tail=outcome.tail)
    if "refused" in outcome:
        raise LlmpiError(outcome["refused"])
    shutil.rmtree(partial)
    return {"status": "ok", **outcome, "started": started, "ended": now()}


# --- statistics -----------------------------------------------------------------------------------


def summarize(values: Values) -> Record:
    """Every number with its standard error.

    Args:
        values: [quantities, chunks, positions], the quantities as in `QUANTITIES`.

    Returns:
        name -> {value, standard_error}. Standard errors of means are llama-perplexity's, over
        positions, and carried on to their exponentials to first order; those of the median and the
        99th percentile are of a bootstrap over chunks, null for a single chunk.
    """
    if len(values) == 1:
        return {"perplexity": _exponential(values[0])}
    nll, reference_nll, kld, same = values
    median, p99 = _quantiles(kld, (0.5, 0.99))
    share = same.mean()
    return {
        "perplexity": _exponential(nll),
        "reference_perplexity": _exponential(reference_nll),
        # Paired: llama-perplexity's var(a) + var(b) - 2 cov(a, b) is the variance of a - b.
        "ln_perplexity_ratio": _mean(nll - reference_nll),
        "perplexity_ratio": _exponential(nll - reference_nll),
        "kld_mean_nats": _mean(kld),
        "kld_median_nats": median,
        "kld_p99_nats": p99,
        "top1_agreement_pct": _estimate(
            100 * share, 100 * math.sqrt(share * (1 - share) / (same.size - 1))
        ),
    }


def _estimate(value: float, standard_error: float | None) -> Record:
    return {
        "value": float(value),
        "standard_error": None if standard_error is None else float(standard_error),
    }


def _mean(values: Values) -> Record:
    return _estimate(values.mean(), values.std() / math.sqrt(values.size - 1))


def _exponential(values: Values) -> Record:
    """exp of the mean; its standard error by the delta method."""
    mean = _mean(values)
    factor = math.exp(mean["value"])
    return _estimate(factor, factor * mean["standard_error"])


def _quantiles(values: Values, fractions: tuple[float, ...]) -> list[Record]:
    """Quantiles of [chunks, positions]; positions of a chunk are not independent, chunks are."""
    found = np.quantile(values, fractions)
    if len(values) == 1:
        return [_estimate(value, None) for value in found]
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    spread = np.array([np.quantile(values[draw], fractions) for draw in draws]).std(axis=0)
    return [_estimate(*pair) for pair in zip(found, spread, strict=True)]


# --- in the child ---------------------------------------------------------------------------------


PATHS = ("gguf", "rows", "partial", "text")
"""What a job holds besides its meaning: files and a text, that hashes stand for."""


def main(job: str, out: str) -> None:
    """Do one job; progress goes to stderr."""
    engine_info.log_to(sys.stderr.write)
    try:
        record = measure(json.loads(Path(job).read_text()))
    except EngineError as error:
        sys.exit(str(error))
    except LlmpiError as error:
        record = {"refused": str(error)}
    Path(out).write_text(json.dumps(record))


def measure(job: Record) -> Record:
    """The record of a job of `_run`, but for its status and times.

    Raises:
        LlmpiError, EngineError: as `perplexity`, `reference` and `divergence` say.
    """
    engine = engine_info.describe()
    window = job["window_tokens"]
    with Windows(Path(job["gguf"]), window, job["threads"]) as model:
        if job["task"] == "divergence":
            held = _matching_rows(job, model)
            tokens = held.tokens
            counts = {name: job[name] for name in ("available_chunks", "wanted_chunks")}
        else:
            text = cut(model.tokenize(job["text"]), window)
            wanted = min(len(text), job["chunks"] or len(text))
            counts = {"available_chunks": len(text), "wanted_chunks": wanted}
            tokens = text[: _fitting(job, wanted, model.vocab_tokens)]
        identity = {name: job[name] for name in job if name not in PATHS}
        partial = Partial(Path(job["partial"]), {**identity, "engine": engine})
        if job["task"] == "perplexity":
            no_rows = np.empty((*tokens.shape, 0), np.uint16)
            values = score_chunks(model, tokens, no_rows, score, partial, job["threads"])
        elif job["task"] == "divergence":
            values = score_chunks(model, tokens, held.rows, compare, partial, job["threads"])
        else:
            values = write_rows(model, tokens, Path(job["rows"]), partial, job["threads"])
        vocabulary = model.vocabulary()
    return {
        "task": job["task"],
        "summary": summarize(values),
        "window_tokens": window,
        "chunks": len(tokens),
        **counts,
        "positions_per_chunk": positions_of(window),
        "corpus": job["corpus"],
        "vocabulary": vocabulary,
        "gguf_sha256": job["gguf_sha256"],
        "reference": job.get("reference"),
        "engine": engine,
        "threads": job["threads"],
        "batching": f"{model.at_once} windows of {window}, n_ubatch {UBATCH_TOKENS}",
        "chunk_sums": [
            dict(zip(QUANTITIES, map(float, sums), strict=False)) for sums in values.sum(axis=2).T
        ],
    }


def _fitting(job: Record, wanted: int, vocab_tokens: int) -> int:
    """How many of the wanted chunks the job's file may hold, if it has one."""
    if job["task"] != "reference":
        return wanted
    fitting = LogProbs.fitting(job["max_bytes"], job["window_tokens"], vocab_tokens)
    if fitting < wanted:
        say(f"{fitting} of {wanted} chunks fit into max_bytes, {job['max_bytes'] / 1e6:g} MB")
    return min(fitting, wanted)


def _matching_rows(job: Record, model: "Windows") -> LogProbs:
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


def write_rows(
    model: "Windows", tokens: Tokens, out: Path, partial: "Partial", threads: int
) -> Values:
    """Score `tokens` and write their log-probabilities to `out`, whole or not at all."""
    unfinished = out.with_name(f".{out.name}.part")
    if partial.finished() and unfinished.is_file():
        held = LogProbs.open(unfinished, "r+")
    else:
        partial.clear()
        held = LogProbs.create(unfinished, tokens, model.vocab_tokens)
    values = score_chunks(model, tokens, held.rows, score_and_encode, partial, threads)
    unfinished.replace(out)
    return values


def score_chunks(
    model: "Windows",
    tokens: Tokens,
    rows: Codes,
    scorer: Scorer,
    partial: "Partial",
    threads: int,
) -> Values:
    """Values [quantities, chunks, positions] of all chunks; those in `partial` are not done again.

    Scoring does not run beside decoding: both want every core, and the engine's threads wait for
    one another by spinning.

    Args:
        tokens: [chunks, window].
        rows: [chunks, positions, ...], what `scorer` reads or writes.

    Raises:
        EngineError: the model predicts no numbers.
    """
    first = tokens.shape[1] // 2
    # Only whole batches are taken over, so that each batch has the shape it would have had.
    start = partial.finished() // model.at_once * model.at_once
    done = [partial.load(i) for i in range(start)]
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(start, len(tokens), model.at_once):
            group = tokens[begin : begin + model.at_once]
            found: list[list[Values]] = [[] for _ in group]
            for i, position, logits in model.read(group):
                following = group[i, position + 1 : position + 1 + len(logits)]
                here = rows[begin + i, position - first : position - first + len(logits)]
                found[i].append(_score_piece(pool, scorer, logits, following, here))
            for i, pieces in enumerate(found):
                values = np.concatenate(pieces, axis=1)
                if not np.isfinite(values).all():
                    raise EngineError(f"the model predicts no finite numbers in chunk {begin + i}")
                partial.save(begin + i, values)
                done.append(values)
            left = (len(tokens) - len(done)) / (len(done) - start) * (time.monotonic() - began)
            mean = np.mean([values[0].mean() for values in done])
            say(
                f"chunk {len(done)}/{len(tokens)}, perplexity {math.exp(mean):.4f}, "
                f"ETA {timedelta(seconds=round(left))}"
            )
    return np.stack(done, axis=1)


def _score_piece(
    pool: ThreadPoolExecutor, scorer: Scorer, logits: Logits, following: Tokens, rows: Codes
) -> Values:
    def block(start: int) -> Values:
        part = slice(start, start + ROWS_AT_ONCE)
        return scorer(logits[part], following[part], rows[part])

    blocks = pool.map(block, range(0, len(logits), ROWS_AT_ONCE))
    return np.concatenate(list(blocks), axis=1)


class Partial:
    """What is done of a job: the values of each chunk, in a folder that fits this very job only."""

    def __init__(self, folder: Path, identity: Record) -> None:
        self._folder = folder
        self._note = folder / "job.json"
        self._identity = identity
        if not self._note.is_file() or read_json(self._note) != identity:
            self.clear()

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        write_json(self._note, self._identity)

    def finished(self) -> int:
        """How many chunks are done, from the first on."""
        done = 0
        while self._path(done).is_file():
            done += 1
        return done

    def load(self, chunk: int) -> Values:
        """[quantities, positions]"""
        return np.load(self._path(chunk))

    def save(self, chunk: int, values: Values) -> None:
        with whole_file(self._path(chunk)) as path, path.open("wb") as file:
            np.save(file, values)

    def _path(self, chunk: int) -> Path:
        return self._folder / f"{chunk:06d}.npy"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
