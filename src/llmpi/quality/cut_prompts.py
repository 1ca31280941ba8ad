"""Whether an endpoint computed all of what it was asked.

A server may cut a prompt that does not fit its context, and answer what is left of it without a
word: Ollama leaves half a context of it (https://github.com/ollama/ollama/issues/17427). Nothing
tells but the tokens that it counts itself, which then stop growing with the prompts.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from llmpi.device.measure.context import LONGER
from llmpi.device.records import Asked
from llmpi.engine.llama import Model, Settings
from llmpi.engine.records import Failed, Message
from llmpi.records import failed

SLACK_TOKENS = 2
SLACK_SHARE = 0.02
"""So many, one for each message, and such a part may be tokenized otherwise within a template."""


class Counted(NamedTuple):
    """A prompt.

    `told` are its tokens by the endpoint's count, `words` those of its messages alone, without what
    a chat template adds; `roles` are the messages'.
    """

    told: int
    words: int
    roles: tuple[str, ...]


def not_whole(
    gguf: Path, conversations: Sequence[Sequence[Message]], asked: Sequence[Asked]
) -> Failed | None:
    """Why answers are none to what was asked, if they are not.

    Args:
        gguf: the file that the endpoint is said to serve, whose vocabulary counts the tokens.
        asked: the answers to all of these, in parts. Of those that the endpoint did not count
            nobody can tell.
    """
    told = [said["prompt_tokens"] for part in asked for said in part["answers"]]
    with Model(gguf, Settings(threads=1), vocabulary_alone=True) as vocabulary:
        none = len(vocabulary.tokenize(""))

        def words(messages: Sequence[Message]) -> int:
            texts = (message["content"].strip() for message in messages)
            return sum(len(vocabulary.tokenize(text)) - none for text in texts)

        counted = [
            Counted(tokens, words(messages), tuple(message["role"] for message in messages))
            for tokens, messages in zip(told, conversations, strict=True)
            if tokens
        ]
    cut = cut_prompts(counted)
    if not cut:
        return None
    longest = max(cut, key=lambda one: one.words)
    return failed(
        "quality",
        f"the endpoint cut {len(cut)} of {len(counted)} prompts, and answered what was left: it "
        f"counts {longest.told} tokens in one whose words alone have {longest.words}. Its context "
        f"is too short: {LONGER}; or is `serves` wrong?",
    )


def cut_prompts(counted: Sequence[Counted]) -> list[Counted]:
    """Those of which the endpoint counts too few tokens, and which are longer than all the others:
    a prompt that is only counted otherwise than here stands among longer ones that are not.
    """
    added = _added(counted)
    whole = {one: one.words + added[one.roles] for one in counted}
    short = {one for one, tokens in whole.items() if one.told < tokens - _slack(one)}
    longest = max((tokens for one, tokens in whole.items() if one not in short), default=0)
    return [one for one in counted if one in short and whole[one] > longest]


def _added(counted: Sequence[Counted]) -> dict[tuple[str, ...], float]:
    """What a template adds to the words of messages of such roles: no less than nothing."""
    found = defaultdict[tuple[str, ...], list[int]](list)
    for one in counted:
        found[one.roles].append(one.told - one.words)
    return {roles: max(0.0, median(added)) for roles, added in found.items()}


def _slack(one: Counted) -> float:
    return SLACK_TOKENS + len(one.roles) + SLACK_SHARE * one.words
