"""Chat turns in each model's own words."""

from collections.abc import Sequence

from llmpi.quality.batching.template import Template
from llmpi.quality.records import Message
from llmpi.records import sha256_of_text


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
        self._template = (
            Template(template, bos_token=bos_token, eos_token=eos_token) if template else None
        )

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt behind which the model's answer to the last turn follows.

        Raises:
            TemplateError: the model's template gives none.
        """
        if self._template:
            return self._template.render(messages)
        ends = {"user": "\n\nAnswer:", "assistant": "\n\n", "system": "\n\n"}
        return "".join(self.begin(m["role"]) + m["content"] + ends[m["role"]] for m in messages)

    def begin(self, role: str) -> str:
        """What stands between the prompt and an answer."""
        return " " if role == "assistant" and not self._template else ""
