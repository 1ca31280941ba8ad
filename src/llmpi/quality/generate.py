"""Greedy answers to groups of prompts, each group sharing a prefix that is computed once.

`generate` is the interface a faster engine takes over: token lists in, answers out, in order.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llmpi.device.engine import Engine

Prompt = Sequence[int]


class Answer(NamedTuple):
    """Tokens generated for a prompt; `stopped` if the model ended by itself.

    `error` is set, and there are no tokens, where the prompt does not fit the context.
    """

    tokens: tuple[int, ...]
    stopped: bool
    error: str | None = None


def generate(
    engine: Engine, groups: Sequence[Sequence[Prompt]], max_new_tokens: int
) -> Iterator[list[Answer]]:
    """Answer each group's prompts one after the other, reusing their common prefix.

    Yields:
        The answers of one group, in its order.
    """
    for group in groups:
        prefix = common_prefix(group)
        engine.keep(0)
        fits = prefix + max_new_tokens < engine.context_tokens
        if fits and prefix:
            engine.decode(group[0][:prefix])
        yield [_answer(engine, prompt, prefix, max_new_tokens) for prompt in group]


def common_prefix(group: Sequence[Prompt]) -> int:
    """Tokens all prompts begin with; at least one of each prompt is left over to decode."""
    shared = 0
    for column in zip(*(prompt[:-1] for prompt in group), strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return shared


def _answer(engine: Engine, prompt: Prompt, prefix: int, max_new_tokens: int) -> Answer:
    need = len(prompt) + max_new_tokens
    if need > engine.context_tokens:
        return Answer((), False, f"needs {need} of {engine.context_tokens} tokens of context")
    engine.keep(prefix)
    tokens: list[int] = []
    step: Prompt = prompt[prefix:]
    while True:
        engine.decode(step)
        token = engine.greedy()
        if engine.is_end(token):
            return Answer(tuple(tokens), True)
        tokens.append(token)
        if len(tokens) == max_new_tokens:
            return Answer(tuple(tokens), False)
        step = [token]
