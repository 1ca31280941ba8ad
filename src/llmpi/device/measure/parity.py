"""What an engine predicts for a fixed text, on the device and on the workstation alike.

`llmpi.quality.parity` holds the two against each other. `python -m llmpi.device.measure.parity JOB
OUT` is the process that loads the engine; its arguments are JSON files.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from llmpi.device.machine import capacity, environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.records import ModelFile, PredictRequest
from llmpi.engine import info as engine_info
from llmpi.engine.fixed_text import TEXT
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.records import Failed, Position, Predicted
from llmpi.engine.supervise import Death, supervise

BATCH_TOKENS, BATCHES = 64, 3
"""As a prompt is processed; a batch bounds the memory of its logits."""
SINGLE_TOKENS = 32
"""As text is generated, for which an engine has other kernels."""
TOP = 40
TIMEOUT_S = 3600
"""A model that fits is done in a minute; one that does not is read from storage 35 times."""


def predict(job: ModelFile) -> Predicted:
    """The most likely next tokens behind each token of the text, whatever was predicted before.

    Returns:
        Each position with the `TOP` most likely tokens, in six significant digits.

    Raises:
        EngineError: the model cannot be loaded, or what it computes are no numbers.
    """
    settings = Settings(threads=job["threads"] or capacity.processors(), batch_tokens=BATCH_TOKENS)
    context_tokens = BATCH_TOKENS * BATCHES + SINGLE_TOKENS
    with Engine(Path(job["gguf"]), settings, context_tokens=context_tokens) as engine:
        tokens = engine.tokenize(TEXT)[:context_tokens]
        positions = [
            most_likely(logits, TOP)
            for piece in pieces(tokens)
            for logits in engine.decode_all(piece)
        ]
    return {
        "status": "ok",
        "tokens": tokens,
        "tokens_sha256": hashlib.sha256(json.dumps(tokens).encode()).hexdigest(),
        "positions": positions,
        "settings": settings.record(),
        "engine": engine_info.describe(),
        "machine": environment.machine(),
    }


def pieces(tokens: Sequence[int]) -> Iterator[Sequence[int]]:
    """How the tokens are decoded: in batches, the last ones each by itself."""
    batched = len(tokens) - SINGLE_TOKENS
    for start in range(0, batched, BATCH_TOKENS):
        yield tokens[start : min(start + BATCH_TOKENS, batched)]
    for token in tokens[batched:]:
        yield [token]


def most_likely(logits: np.ndarray, count: int) -> Position:
    """A distribution, given by the logits of all tokens, as its head and the sum of its tail.

    Raises:
        EngineError: the logits are no numbers.
    """
    exact = logits.astype(np.float64)
    if np.isnan(exact).any() or not np.isfinite(exact.max()):
        raise EngineError("the model computes no numbers (NaN or infinity)")
    logprobs = exact - np.logaddexp.reduce(exact)
    top = np.argpartition(-logprobs, count)[:count]
    top = top[np.argsort(-logprobs[top], kind="stable")]
    rest = np.logaddexp.reduce(np.delete(logprobs, top))
    return {
        "tokens": top.tolist(),
        "logprobs": [float(f"{value:.6g}") for value in logprobs[top]],
        "rest_logprob": float(f"{rest:.6g}"),
    }


def run(
    request: PredictRequest, *, log: Callable[[str], None], owner: IO[str] | None = None
) -> Predicted | Failed:
    """Predict here, when the machine is free; a dead engine is a result.

    Args:
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Raises:
        OwnerGoneError: `owner` ended.
    """
    with machine_alone(request["what"], wait=waiting(log, owner)):
        outcome = supervise(
            __name__, request, writes=Predicted, timeout_s=TIMEOUT_S, log=log, owner=owner
        )
    return outcome.failed("parity") if isinstance(outcome, Death) else outcome


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    try:
        record = predict(json.loads(Path(job).read_text(encoding="utf-8")))
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
