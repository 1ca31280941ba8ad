"""The frozen prompts of the SQuAD v2 task."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from llmpi.engine.answers import ABSTENTION
from llmpi.engine.records import Message
from llmpi.quality.squad.records import PromptNumber
from llmpi.records import sha256_of_text


class Example(NamedTuple):
    """A worked question; its passage is none of the data's."""

    passage: str
    question: str
    reply: str


class Prompt(NamedTuple):
    """
    Args:
        ask: has places for {context} and {question}.
        follow_up: the next question on the same passage, which is read only once.
        examples: small models answer in whole sentences without them. Half of them are
            unanswerable, as of SQuAD's own questions, and half of the first two, so that they lean
            to neither side.
    """

    ask: str
    follow_up: str
    examples: tuple[Example, ...]


FERRY = (
    "The night ferry to Skagen left pier 4 at 21:40 with 212 passengers. Captain Ilse Brandt "
    "turned back after an hour because of the ice."
)
ON_FERRY = (
    Example(FERRY, "When did the ferry reach Skagen?", ABSTENTION),
    Example(FERRY, "What made the ferry turn back?", "the ice"),
)
KILN = (
    "Bricks from the Hollin kiln are fired for three days at 1,050 °C. The clay comes from a pit "
    "behind the works, and the finished bricks were shipped by canal."
)
ON_KILN = (
    Example(KILN, "Who owns the kiln?", ABSTENTION),
    Example(KILN, "Where does the clay come from?", "a pit behind the works"),
)

PROMPTS: Mapping[PromptNumber, Prompt] = {
    1: Prompt(
        ask=(
            "Answer the question with words copied from the passage, as few as possible. "
            f'If the passage does not answer it, reply with the one word "{ABSTENTION}".\n\n'
            "Passage: {context}\n\nQuestion: {question}"
        ),
        follow_up="Question: {question}",
        examples=(*ON_FERRY, *ON_KILN),
    ),
    2: Prompt(
        ask=(
            "Use the passage to answer the question: copy the words that answer it, and no "
            f'others. If they are not there, answer "{ABSTENTION}".\n\n'
            "Passage: {context}\n\nQuestion: {question}"
        ),
        follow_up="Question: {question}",
        examples=(*ON_KILN, *ON_FERRY),
    ),
}
"""By the number under which a task asks for it. Frozen: who words one anew gives it a number of its
own."""


def messages(context: str, question: str, examples: int, prompt: PromptNumber = 1) -> list[Message]:
    """The turns of a question, behind so many worked ones on other passages."""
    asked, turns, passage = PROMPTS[prompt], list[Message](), ""
    for example in asked.examples[:examples]:
        template = asked.follow_up if example.passage == passage else asked.ask
        passage = example.passage
        turns.append({"role": "user", "content": _fill(template, passage, example.question)})
        turns.append({"role": "assistant", "content": example.reply})
    return [*turns, {"role": "user", "content": _fill(asked.ask, context, question)}]


def prompt_sha256(template_sha256: str, examples: int, prompt: PromptNumber = 1) -> str:
    """What tells prompts apart: instructions, worked turns, the model's chat template."""
    ask, follow_up, worked = PROMPTS[prompt]
    return sha256_of_text(json.dumps([ask, follow_up, worked[:examples], template_sha256]))


def _fill(template: str, context: str, question: str) -> str:
    # Not str.format: passages hold braces.
    return template.replace("{question}", question, 1).replace("{context}", context, 1)
