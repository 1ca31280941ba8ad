"""Chat turns in each model's own words."""

from collections.abc import Sequence
from typing import Any

from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from llmpi.quality.records import Message
from llmpi.records import sha256_of_text

# A template may ask for today's date; a prompt that changes overnight cannot be compared.
FROZEN_DATE = "26 Jul 2024"


class FrozenTemplate(Jinja2ChatFormatter):
    """A chat template, rendered in jinja's sandbox: it comes out of an untrusted file."""

    @staticmethod
    def strftime_now(f: str) -> str:  # noqa: ARG004 - the parent's signature
        return FROZEN_DATE


class ChatFormat:
    """How one model is spoken to.

    Args:
        template: the model's chat template (Jinja), or None: then questions and answers are marked
            by the word `Answer:` alone.
        bos_token, eos_token: the texts of these tokens, which templates refer to.
    """

    def __init__(self, template: str | None, *, bos_token: str, eos_token: str) -> None:
        self.has_template = template is not None
        self.sha256 = sha256_of_text(template or "")
        self._formatter: Any = template and FrozenTemplate(
            template, bos_token=bos_token, eos_token=eos_token
        )

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt behind which the model's answer to the last turn follows."""
        if self._formatter:
            return self._formatter(messages=list(messages)).prompt
        ends = {"user": "\n\nAnswer:", "assistant": "\n\n", "system": "\n\n"}
        return "".join(self.begin(m["role"]) + m["content"] + ends[m["role"]] for m in messages)

    def begin(self, role: str) -> str:
        """What stands between the prompt and an answer."""
        return " " if role == "assistant" and not self._formatter else ""
