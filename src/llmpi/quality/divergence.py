"""Perplexity of a model on a text, and KL divergence from a reference, as llama-perplexity does it.

The window rule (tools/perplexity/perplexity.cpp of llama.cpp): the text's tokens are cut into
chunks of a window each, the first token of a chunk is replaced by BOS where the vocabulary wants
one, and what is scored are the predictions made in the second half of the window, so that each has
at least half a window of context. The rest of the text, shorter than a window, is left out.

The reference's log-probabilities are written once, in llama-perplexity's own file format
(--kl-divergence-base), and compared with any number of variants. The engine runs in a child process
(`python -m llmpi.quality.divergence JOB OUT`).
"""

import ctypes
import json
import math
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from llmpi.device import engine_info
from llmpi.device.engine import EngineError, fill
from llmpi.device.supervise import Death, supervise
from llmpi.errors import LlmpiError
from llmpi.jobs import tell
from llmpi.records import (
    Record,
    failed,
    is_ok,
    now,
    read_json,
    sha256_of_json,
    whole_file,
    write_json,
)

Tokens = NDArray[np.int32]
Logits = NDArray[np.float32]
Codes = NDArray[np.uint16]
Values = NDArray[np.float64]

# llama-perplexity's defaults. The shape of a batch changes the rounding of some kernels, so it is
# the same for every variant.
BATCH_TOKENS, UBATCH_TOKENS = 2048, 512
RANGE_NATS = 16
"""What is less likely than the likeliest token by more than this is stored as this."""
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
        corpus: of `llmpi.quality.corpus.load_corpus`.
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


# --- log-probabilities in 16 bits -----------------------------------------------------------------


@dataclass(frozen=True)
class LogProbs:
    """llama-perplexity's file: header, tokens, and a row of 16-bit log-probabilities a position.

    A row is two float32, the scale and the lowest log-probability, and a code for each token of the
    vocabulary: log-probability = lowest + scale * code.
    """

    MAGIC = b"_logits_"
    HEADER = struct.Struct("<8sIii")  # magic, window, vocabulary, chunks

    vocab_tokens: int
    tokens: Tokens
    """[chunks, window]"""
    rows: Codes
    """[chunks, positions, 4 + vocabulary rounded up to even], mapped into memory"""

    @classmethod
    def create(cls, path: Path, tokens: Tokens, vocab_tokens: int) -> Self:
        """A file for the rows of `tokens`, its space reserved.

        Raises:
            LlmpiError: the disk has no room.
        """
        chunks, window = tokens.shape
        size = cls.size(chunks, window, vocab_tokens)
        with path.open("wb") as file:
            file.write(cls.HEADER.pack(cls.MAGIC, window, vocab_tokens, chunks))
            file.write(tokens.astype("<i4").tobytes())
            file.flush()
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                path.unlink()
                raise LlmpiError(
                    f"{path.parent} has no room for {size / 1e6:.0f} MB of log-probabilities "
                    f"({error.strerror}): make room, or take fewer chunks or a smaller max_bytes"
                ) from None
        return cls.open(path, "r+")

    @classmethod
    def open(cls, path: Path, mode: Literal["r", "r+"] = "r") -> Self:
        """The rows of a file that is there.

        Raises:
            LlmpiError: it is no such file, or not whole.
        """
        with path.open("rb") as file:
            head = file.read(cls.HEADER.size)
            magic, window, vocab_tokens, chunks = cls.HEADER.unpack(head.ljust(cls.HEADER.size))
            if magic != cls.MAGIC or path.stat().st_size != cls.size(chunks, window, vocab_tokens):
                raise LlmpiError(
                    f"{path}: no whole file of log-probabilities; delete it and run again"
                )
            tokens = np.fromfile(file, "<i4", chunks * window).reshape(chunks, window)
        shape = (chunks, positions_of(window), cls.width(vocab_tokens))
        offset = cls.HEADER.size + tokens.nbytes
        return cls(vocab_tokens, tokens, np.memmap(path, "<u2", mode, offset, shape))

    @classmethod
    def size(cls, chunks: int, window: int, vocab_tokens: int) -> int:
        """Bytes of a file."""
        row = 2 * cls.width(vocab_tokens)
        return cls.HEADER.size + chunks * (4 * window + positions_of(window) * row)

    @classmethod
    def fitting(cls, max_bytes: int, window: int, vocab_tokens: int) -> int:
        """How many chunks fit.

        Raises:
            LlmpiError: none does.
        """
        one = cls.size(1, window, vocab_tokens)
        if max_bytes < one:
            raise LlmpiError(
                f"one chunk of {window} tokens of a vocabulary of {vocab_tokens} takes "
                f"{one / 1e6:.1f} MB, more than max_bytes, {max_bytes / 1e6:.1f} MB: raise it, or "
                "take a smaller window_tokens"
            )
        return (max_bytes - cls.HEADER.size) // (one - cls.HEADER.size)

    @staticmethod
    def width(vocab_tokens: int) -> int:
        return 4 + 2 * ((vocab_tokens + 1) // 2)


def positions_of(window_tokens: int) -> int:
    """How many predictions of a window are scored: of its second half, but for the last token's."""
    return window_tokens - 1 - window_tokens // 2


def encode(logits: Logits, log_z: Logits, out: Codes) -> None:
    """Write rows of log-probabilities: log_softmax in llama-perplexity.

    What lies within `RANGE_NATS` of the likeliest token is off by RANGE_NATS / 65535 / 2 at most.

    Args:
        logits: [rows, vocabulary].
        log_z: [rows, 1], of `log_sum_exp`.
        out: [rows, 4 + vocabulary rounded up to even].
    """
    top = logits.max(axis=1, keepdims=True)
    low = np.maximum(logits.min(axis=1, keepdims=True), top - np.float32(RANGE_NATS))
    scale = (top - low) / np.float32(65535)
    steps = logits - low
    np.maximum(steps, 0, out=steps)
    tiny = np.finfo(np.float32).tiny  # rows that are flat to that: all codes are 0
    steps *= np.divide(1, scale, out=np.zeros_like(scale), where=scale > tiny)
    out[:, 4 : 4 + logits.shape[1]] = np.rint(steps, out=steps)
    out[:, :4].view(np.float32)[:] = np.hstack([scale, low - log_z])


def decode(rows: Codes, vocab_tokens: int) -> Logits:
    """Log-probabilities [rows, vocabulary] of encoded rows."""
    scale, lowest = rows[:, :4].view(np.float32).T[..., None]
    found = rows[:, 4 : 4 + vocab_tokens] * scale
    found += lowest
    return found


# --- scores of a block of positions ---------------------------------------------------------------

Scorer = Callable[[Logits, Tokens, Codes], Values]
"""(logits [n, vocabulary], tokens that follow [n], rows [n, ...]) -> values [quantities, n]"""


def log_sum_exp(logits: Logits) -> Logits:
    """[rows, 1]"""
    top = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - top).sum(axis=1, dtype=np.float64, keepdims=True)
    return top + np.log(total).astype(np.float32)


def score(logits: Logits, following: Tokens, _: Codes) -> Values:
    """Negative log-likelihoods only."""
    return _nll(logits, log_sum_exp(logits), following)[None]


def score_and_encode(logits: Logits, following: Tokens, rows: Codes) -> Values:
    """Negative log-likelihoods; `rows` are written."""
    log_z = log_sum_exp(logits)
    encode(logits, log_z, rows)
    return _nll(logits, log_z, following)[None]


def compare(logits: Logits, following: Tokens, rows: Codes) -> Values:
    """All `QUANTITIES`, against `rows`.

    The divergence is KL(reference || variant), the sum over the vocabulary of
    p_reference (ln p_reference - ln p), in nats; tokens with ln p_reference <= -16 are left out, as
    in llama-perplexity, since their rows hold no more than a bound.
    """
    log_z = log_sum_exp(logits)
    base = decode(rows, logits.shape[1])
    weights = np.exp(base)
    weights[base <= -RANGE_NATS] = 0
    terms = base - logits
    terms += log_z
    terms *= weights
    at = np.arange(len(logits))
    return np.stack(
        [
            _nll(logits, log_z, following),
            -base[at, following].astype(np.float64),
            terms.sum(axis=1, dtype=np.float64),
            (logits.argmax(axis=1) == rows[:, 4 : 4 + logits.shape[1]].argmax(axis=1)),
        ]
    )


def _nll(logits: Logits, log_z: Logits, following: Tokens) -> Values:
    return log_z[:, 0].astype(np.float64) - logits[np.arange(len(logits)), following]


# --- in the child ---------------------------------------------------------------------------------


PATHS = ("gguf", "rows", "partial", "text")
"""What a job holds besides its meaning: files and a text, that hashes stand for."""


def main(job: str, out: str) -> None:
    """Do one job; progress goes to stderr."""
    keep_alive = engine_info.log_to(sys.stderr.write)
    try:
        record = measure(json.loads(Path(job).read_text()))
    except EngineError as error:
        sys.exit(str(error))
    except LlmpiError as error:
        record = {"refused": str(error)}
    Path(out).write_text(json.dumps(record))
    del keep_alive


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


def cut(tokens: Tokens, window: int) -> Tokens:
    """[chunks, window]

    Raises:
        LlmpiError: there are less than two windows, which llama-perplexity asks for.
    """
    if len(tokens) < 2 * window:
        raise LlmpiError(
            f"the corpus has {len(tokens)} tokens, and windows of {window} need at least "
            f"{2 * window}: take a longer text or a smaller window_tokens"
        )
    chunks = len(tokens) // window
    return tokens[: chunks * window].reshape(chunks, window)


def _fitting(job: Record, wanted: int, vocab_tokens: int) -> int:
    """How many of the wanted chunks the job's file may hold, if it has one."""
    if job["task"] != "reference":
        return wanted
    fitting = LogProbs.fitting(job["max_bytes"], job["window_tokens"], vocab_tokens)
    if fitting < wanted:
        _say(f"{fitting} of {wanted} chunks fit into max_bytes, {job['max_bytes'] / 1e6:g} MB")
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
            _say(
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


class Windows:
    """A model that reads windows of a text, several in one batch, as llama-perplexity does.

    Raises:
        EngineError: the file cannot be loaded, or there is no memory for the context.
        LlmpiError: the model is not made for windows of this length.
    """

    def __init__(self, gguf: Path, window_tokens: int, threads: int) -> None:
        llama_cpp.llama_backend_init()
        self._context = self._batch = None
        self._window = window_tokens
        self.at_once = max(1, BATCH_TOKENS // window_tokens)
        """So many windows make a batch."""
        self._model = llama_cpp.llama_model_load_from_file(
            os.fsencode(gguf), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise EngineError(f"llama.cpp cannot load {gguf.name}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocab_tokens: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        try:
            self._make_context(threads)
        except (EngineError, LlmpiError):
            self.close()
            raise

    def _make_context(self, threads: int) -> None:
        trained = llama_cpp.llama_model_n_ctx_train(self._model)
        if self._window > trained:
            raise LlmpiError(
                f"window_tokens is {self._window}, and the model was trained on {trained} at most: "
                "take a smaller window_tokens"
            )
        tokens = self.at_once * self._window
        self._batch_tokens = min(BATCH_TOKENS, tokens)
        params = llama_cpp.llama_context_default_params()
        fill(
            params,
            n_ctx=tokens,
            n_batch=self._batch_tokens,
            n_ubatch=UBATCH_TOKENS,
            n_seq_max=self.at_once,
            n_threads=threads,
            n_threads_batch=threads,
            swa_full=False,
        )
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise EngineError(f"llama.cpp cannot make a context of {tokens} tokens")
        self._batch = llama_cpp.llama_batch_init(self._batch_tokens, 0, 1)

    def close(self) -> None:
        if self._context:
            llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tokenize(self, text: str) -> Tokens:
        """Tokens of `text`, what looks like a special token read as plain text."""
        raw = text.removesuffix("\n").encode()  # llama.cpp's tools drop a file's last newline
        count = -len(raw)
        while count < 0:  # there was no room for so many
            room = -count
            tokens = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), tokens, room, True, False)
        return np.ctypeslib.as_array(tokens)[:count].copy()

    def vocabulary(self) -> Record:
        """What must be the same for two models' predictions to be comparable."""
        texts = [
            llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")
            for token in range(self.vocab_tokens)
        ]
        return {"tokens": self.vocab_tokens, "sha256": sha256_of_json([self._bos(), texts])}

    def read(self, windows: Tokens) -> Iterator[tuple[int, int, Logits]]:
        """Decode up to `at_once` windows from scratch.

        Args:
            windows: [windows, window].

        Yields:
            (i, position, logits): of window i, the scored positions from `position` on, in pieces
            where the window is longer than a batch. The logits [positions, vocabulary] lie in the
            engine's memory, and are gone at the next step.
        """
        tokens = windows.copy()
        if (bos := self._bos()) is not None:
            tokens[:, 0] = bos
        first, last = self._window // 2, self._window - 1
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        for start in range(0, self._window, self._batch_tokens):
            piece = tokens[:, start : start + self._batch_tokens]
            self._decode(piece, start, first)
            begin, end = max(start, first), start + piece.shape[1]
            if begin < min(end, last):
                logits = self._logits(begin - start, len(piece), end - begin)
                for i in range(len(piece)):
                    yield i, begin, logits[i, : min(end, last) - begin]

    def _bos(self) -> int | None:
        """The token that each window begins with, if the vocabulary adds one."""
        if llama_cpp.llama_vocab_get_add_bos(self._vocab):
            return llama_cpp.llama_vocab_bos(self._vocab)
        return None

    def _decode(self, tokens: Tokens, start: int, first: int) -> None:
        """Decode [sequences, tokens], logits from position `first` on."""
        batch: Any = self._batch
        batch.n_tokens = tokens.size
        at = 0
        for sequence, row in enumerate(tokens.tolist()):
            for position, token in enumerate(row, start):
                batch.token[at] = token
                batch.pos[at] = position
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = sequence
                batch.logits[at] = position >= first
                at += 1
        code = llama_cpp.llama_decode(self._context, batch)
        if code != 0:
            raise EngineError(f"llama_decode returned {code} for {tokens.size} tokens")

    def _logits(self, index: int, sequences: int, positions: int) -> Logits:
        """[sequences, positions, vocabulary], those of the token at `index` in the batch first."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, index)
        address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(address, (sequences, positions, self.vocab_tokens))


def _say(text: str) -> None:
    print(f"llmpi: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
