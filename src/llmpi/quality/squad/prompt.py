"""The frozen prompt of the SQuAD v2 task."""

import json

from llmpi.engine.answers import ABSTENTION
from llmpi.quality.records import Message
from llmpi.records import sha256_of_text

PROMPT = (
    "Answer the question with words copied from the passage, as few as possible. "
    f'If the passage does not answer it, reply with the one word "{ABSTENTION}".\n\n'
    "Passage: {context}\n\nQuestion: {question}"
)

# A worked passage in front of every question: small models answer in whole sentences without it.
# Its questions follow one another in one conversation, so that it is read only once.
EXAMPLE_PASSAGE = (
    "The night ferry to Skagen left pier 4 at 21:40 with 212 passengers. Captain Ilse Brandt "
    "turned back after an hour because of the ice."
)
EXAMPLES = (
    ("Who was the captain of the ferry?", "Ilse Brandt"),
    ("When did the ferry reach Skagen?", ABSTENTION),
    ("What made the ferry turn back?", "the ice"),
    ("When did the ferry leave?", "21:40"),
)
FOLLOW_UP = "Question: {question}"


def messages(context: str, question: str, examples: int) -> list[Message]:
    """The turns of a question, behind so many worked ones on another passage."""
    turns: list[Message] = []
    for i, (asked, reply) in enumerate(EXAMPLES[:examples]):
        first = _ask(EXAMPLE_PASSAGE, asked)
        turns.append({"role": "user", "content": FOLLOW_UP.format(question=asked) if i else first})
        turns.append({"role": "assistant", "content": reply})
    return [*turns, {"role": "user", "content": _ask(context, question)}]


def prompt_sha256(template_sha256: str, examples: int) -> str:
    """What tells prompts apart: instructions, worked turns, the model's chat template."""
    frozen = [PROMPT, FOLLOW_UP, EXAMPLE_PASSAGE, EXAMPLES[:examples], template_sha256]
    return sha256_of_text(json.dumps(frozen))


def _ask(context: str, question: str) -> str:
    # Not str.format: passages hold braces.
    return PROMPT.replace("{question}", question, 1).replace("{context}", context, 1)
