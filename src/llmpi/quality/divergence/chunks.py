"""Chunks of a text, scored one after the other; what is done is kept."""

import math
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from llmpi.engine.llama import EngineError
from llmpi.engine.progress import Progress
from llmpi.quality.divergence.jobs import unfinished
from llmpi.quality.divergence.log_probs import (
    Codes,
    Logits,
    LogProbs,
    Scorer,
    Tokens,
    Values,
    let_go,
    score_and_encode,
)
from llmpi.quality.divergence.windows import Windows
from llmpi.records import sha256_of_json, whole_file

ROWS_AT_ONCE = 8
"""So many rows of logits stay in the processor's cache while they are scored."""


def write_rows(
    model: Windows, tokens: Tokens, out: Path, partial: "Partial", threads: int
) -> Values:
    """Score `tokens` and write their log-probabilities to `out`, whole or not at all."""
    part = unfinished(out)
    if partial.finished() and part.is_file():
        held = LogProbs.open(part, "r+")
    else:
        partial.clear()
        held = LogProbs.create(part, tokens, model.vocab_tokens)
    try:
        values = score_chunks(model, tokens, held.rows, score_and_encode, partial, threads)
    except BaseException:
        if not partial.finished():  # of rows that no note speaks of nothing can go on
            part.unlink(missing_ok=True)
        raise
    part.replace(out)
    return values


def score_chunks(
    model: Windows,
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
    progress = Progress(len(tokens), "chunks", done=start)
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(start, len(tokens), model.at_once):
            group = tokens[begin : begin + model.at_once]
            found: list[list[Values]] = [[] for _ in group]
            for i, position, logits in model.read(group):
                following = group[i, position + 1 : position + 1 + len(logits)]
                here = rows[begin + i, position - first : position - first + len(logits)]
                found[i].append(score_piece(pool, scorer, logits, following, here))
            for i, pieces in enumerate(found):
                values = np.concatenate(pieces, axis=1)
                if not np.isfinite(values).all():
                    raise EngineError(f"the model predicts no finite numbers in chunk {begin + i}")
                partial.save(begin + i, values)
                done.append(values)
            let_go(rows)
            mean = np.mean([values[0].mean() for values in done])
            progress.at(len(done) - start, f"perplexity {math.exp(mean):.4f}")
    return np.stack(done, axis=1)


def score_piece(
    pool: ThreadPoolExecutor, scorer: Scorer, logits: Logits, following: Tokens, rows: Codes
) -> Values:
    """Values [quantities, positions] of logits [positions, vocabulary], on several threads."""

    def block(start: int) -> Values:
        part = slice(start, start + ROWS_AT_ONCE)
        return scorer(logits[part], following[part], rows[part])

    blocks = pool.map(block, range(0, len(logits), ROWS_AT_ONCE))
    return np.concatenate(list(blocks), axis=1)


class Partial:
    """What is done of a job: the values of each chunk, in a folder that fits this very job only.

    Args:
        identity: what makes the values others; only its hash is kept.
    """

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:  # hashed, not read
        self._folder = folder
        self._note = folder / "job.sha256"
        self._identity = sha256_of_json(identity)
        if not self._note.is_file() or self._note.read_text() != self._identity:
            self.clear()

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

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
        if not self._note.is_file():  # a job that dies before its first chunk leaves nothing
            self._folder.mkdir(parents=True)
            with whole_file(self._note) as path:
                path.write_text(self._identity)
        with whole_file(self._path(chunk)) as path, path.open("wb") as file:
            np.save(file, values)

    def _path(self, chunk: int) -> Path:
        return self._folder / f"{chunk:06d}.npy"
