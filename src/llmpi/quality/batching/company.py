"""Does a model say in company what it says alone?

Engines have mixed up the states of sequences that were computed together, of recurrent models above
all (ggml-org/llama.cpp#29002), and nothing in the answers tells. So before a file is first asked
anything, a few short prompts are answered together, as a task's are, and then each in a context
that holds nothing else. Both round, and quantized weights or caches amplify that; what is beyond
it is no rounding, and the file is asked one thing at a time.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from llmpi.engine.fixed_text import TEXT
from llmpi.engine.llama import Engine
from llmpi.engine.low_level import llama_cpp
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Request, Tokens

GROUPS, MEMBERS = 4, 2
SHARED_TOKENS, LEAST_TOKENS, NEW_TOKENS = 12, 12, 8
"""Of a group's common beginning, of the shortest rest, and of what is said behind each prompt."""

LEAST_CONTEXT_TOKENS = 512
"""Of which two of the prompts fit a lane."""


class Bounds(NamedTuple):
    """What rounding may do, in nats."""

    score: float
    """To the log-likelihood of a text, a token."""
    choice: float
    """To what the token lacks that was chosen, against the likeliest."""


# Three times and more what five types of SmolLM2-135M showed: 0.002 and 0 at F16, 0.08 and 0.24
# at Q8_0 to Q2_K, whose kernels round activations to 8 bits. A token of a neighbour in place of
# one's own, once a batch: from 0.9 and 12.
UNQUANTIZED, QUANTIZED = Bounds(0.05, 0.2), Bounds(0.25, 1.0)


def objection(engine: BatchEngine, gguf: Path) -> str | None:
    """Why the file is to be asked one thing at a time; None where company changes nothing.

    Args:
        engine: of `gguf`; what it shares is another thing afterwards.

    Raises:
        EngineError: the engine gives no context.
    """
    if engine.shape.context_tokens < LEAST_CONTEXT_TOKENS:
        return f"a context of {engine.shape.context_tokens} tokens has no room for company"
    groups, texts = _prompts(engine), _continuations(engine)
    to_answer, to_score = _asked(groups, max_new_tokens=NEW_TOKENS), _asked(groups, texts=texts)
    engine.share(to_answer)
    said, _ = engine.run(to_answer)
    scored, _ = engine.run(to_score)
    prompts = [prompt for group in groups for prompt in group]
    bounds = UNQUANTIZED if _is_exact(engine) else QUANTIZED
    most = max(map(len, prompts)) + NEW_TOKENS
    alone = Engine(gguf, engine.settings, context_tokens=most, beside=engine)
    try:
        off = [
            Bounds(
                abs(_likelihood(alone, prompt, text) - score.scores[0].log_likelihood) / len(text),
                _lack(alone, prompt, outcome.tokens),
            )
            for prompt, text, outcome, score in zip(prompts, texts, said, scored, strict=True)
        ]
    finally:
        alone.close()
    beyond = [one for one in off if not (one.score <= bounds.score and one.choice <= bounds.choice)]
    if not beyond:
        return None
    return (
        f"{len(beyond)} of {len(off)} short prompts were answered otherwise together than alone: "
        f"likelihoods differ by up to {max(one.score for one in off):.2f} nats a token and choices "
        f"by {max(one.choice for one in off):.2f}, where rounding makes {bounds.score} and "
        f"{bounds.choice}"
    )


def _prompts(engine: BatchEngine) -> list[list[Tokens]]:
    """Of different lengths, in groups that share a beginning, beside what all share."""
    text = engine.tokenize(TEXT)
    head, text = text[:SHARED_TOKENS], text[SHARED_TOKENS:]
    groups = []
    for group in range(GROUPS):
        at = group * SHARED_TOKENS
        shared = head + text[at : at + SHARED_TOKENS]
        groups.append([tuple(shared + _rest(text, group, member)) for member in range(MEMBERS)])
    return groups


def _rest(text: Sequence[int], group: int, member: int) -> list[int]:
    at = (GROUPS + group * MEMBERS + member) * SHARED_TOKENS
    return list(text[at : at + LEAST_TOKENS + 3 * group + member])


def _continuations(engine: BatchEngine) -> list[Tokens]:
    text = engine.tokenize(TEXT)[-GROUPS * MEMBERS * NEW_TOKENS :]
    return [tuple(text[i : i + NEW_TOKENS]) for i in range(0, len(text), NEW_TOKENS)]


def _asked(
    groups: Sequence[Sequence[Tokens]], max_new_tokens: int = 0, texts: Sequence[Tokens] = ()
) -> list[list[Request]]:
    left = iter(texts)
    return [
        [Request(prompt, max_new_tokens, (next(left),) if texts else ()) for prompt in group]
        for group in groups
    ]


def _likelihood(alone: Engine, prompt: Tokens, text: Tokens) -> float:
    return float(
        sum(row[token] for row, token in zip(_behind(alone, prompt, text), text, strict=True))
    )


def _lack(alone: Engine, prompt: Tokens, said: Tokens) -> float:
    """How much less likely than the likeliest the worst choice was; 0 for all of the likeliest."""
    rows = _behind(alone, prompt, said)
    return max((float(row.max() - row[t]) for row, t in zip(rows, said, strict=True)), default=0.0)


def _behind(alone: Engine, prompt: Tokens, text: Tokens) -> np.ndarray:
    """Log-probabilities where each token of `text` stands, shape (tokens, vocabulary)."""
    alone.keep(0)
    logits = alone.decode_all([*prompt, *text])[len(prompt) - 1 : -1].astype(np.float64)
    top = logits.max(axis=1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


def _is_exact(engine: BatchEngine) -> bool:
    """Whether neither weights nor cache are quantized."""
    text = ctypes.create_string_buffer(128)
    llama_cpp.llama_model_desc(engine.model, text, len(text))
    weights = text.value.decode("utf-8", "replace").rsplit(" ", 1)[-1]
    return weights in ("F32", "F16", "BF16") and engine.settings.kv_cache in ("f32", "f16", "bf16")
