"""The frozen prompt of the SQuAD v2 task, in each model's own chat template."""

import json
from typing import Any

from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from llmpi.quality.squad import normalize
from llmpi.records import sha256_of_text

ABSTENTION = "unanswerable"

PROMPT = (
    "Answer the question with words copied from the passage, as few as possible. "
    f'If the passage does not answer it, reply with the one word "{ABSTENTION}".\n\n'
    "Passage: {context}\n\nQuestion: {question}"
)

# Worked turns in front of every question: small models answer in whole sentences without them.
EXAMPLE_PASSAGE = (
    "The night ferry to Skagen left pier 4 at 21:40 with 212 passengers. Captain Ilse Brandt "
    "turned back after an hour because of the ice."
)
EXAMPLES = (
    ("Who was the captain of the ferry?", "Ilse Brandt"),
    ("When did the ferry reach Skagen?", ABSTENTION),
    ("What made the ferry turn back?", "the ice"),
)

# A template may ask for today's date; a prompt that changes overnight cannot be compared.
FROZEN_DATE = "26 Jul 2024"


class FrozenTemplate(Jinja2ChatFormatter):
    """A chat template, rendered in jinja's sandbox: it comes out of an untrusted file."""

    @staticmethod
    def strftime_now(f: str) -> str:  # noqa: ARG004 - the parent's signature
        return FROZEN_DATE


class ChatPrompt:
    """Prompts for one model.

    Args:
        template: the model's chat template (Jinja), or None: then the bare prompt is used.
        bos_token, eos_token: the texts of these tokens, which templates refer to.
    """

    def __init__(self, template: str | None, *, bos_token: str, eos_token: str) -> None:
        frozen = [PROMPT, EXAMPLE_PASSAGE, EXAMPLES, template or ""]
        self.sha256 = sha256_of_text(json.dumps(frozen))
        self.has_template = template is not None
        self._formatter: Any = template and FrozenTemplate(
            template, bos_token=bos_token, eos_token=eos_token
        )

    def render(self, context: str, question: str) -> str:
        turns = [(_ask(EXAMPLE_PASSAGE, asked), reply) for asked, reply in EXAMPLES]
        if not self._formatter:
            worked = "".join(f"{asked}\n\nAnswer: {reply}\n\n" for asked, reply in turns)
            return f"{worked}{_ask(context, question)}\n\nAnswer:"
        messages = [
            {"role": role, "content": content}
            for turn in turns
            for role, content in zip(("user", "assistant"), turn, strict=True)
        ]
        messages.append({"role": "user", "content": _ask(context, question)})
        return self._formatter(messages=messages).prompt


def _ask(context: str, question: str) -> str:
    # Not str.format: passages hold braces.
    return PROMPT.replace("{question}", question, 1).replace("{context}", context, 1)


def prediction(answer: str) -> str:
    """What is scored: the whole answer, or "" where the model abstains or says nothing."""
    return "" if normalize(answer) == ABSTENTION else answer.strip()
