"""Chat turns in each model's own words."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from llmpi.engine.chat.template import Template
from llmpi.engine.chat.thoughts import Marks, Thought, marks_among
from llmpi.engine.chat.turns import Prompt, told_of
from llmpi.engine.records import Message

SHORTEST_THOUGHT = 16
"""Tokens in which it can be told whether a thought begins: a mark may be of several."""


class ChatFormat:
    """How one model is spoken to.

    Args:
        template: the model's chat template (Jinja), or None: then questions and answers are marked
            by the word `Answer:` alone.
        bos_token, eos_token: the texts of these tokens, which templates refer to.
        vocabulary: gives the texts of the special tokens; asked where the template shows nothing of
            thoughts.
        thinking: whether the model is to think before it answers. Where its template has no switch
            and always opens a thought, "no" closes it at once.
    """

    def __init__(
        self,
        template: str | None,
        *,
        bos_token: str,
        eos_token: str,
        vocabulary: Callable[[], Iterable[str]] = tuple,
        thinking: bool = False,
    ) -> None:
        self.has_template = bool(template)
        self.sha256 = hashlib.sha256((template or "").encode()).hexdigest()
        self.thinking = thinking
        self._vocabulary = vocabulary
        self._template = (
            Template(template, bos_token=bos_token, eos_token=eos_token) if template else None
        )

    @cached_property
    def marks(self) -> Marks | None:
        """What the model writes around its thoughts, where its template or its vocabulary tells.

        Raises:
            TemplateError: the model's template is none.
        """
        if self._template is None:
            return None
        return self._template.marks or marks_among(self._vocabulary())

    @property
    def thinks(self) -> bool:
        """Whether a thought comes before an answer, as far as is known."""
        return self.thinking and self.marks is not None

    def thought(self, prompt: str, tokens: int) -> Thought | None:
        """What may come before the answer to a prompt; None where nothing will.

        Args:
            tokens: bound on it.
        """
        said = prompt.rstrip()
        if self.marks is None:
            return None
        answers = self.marks.close, self.marks.answer.strip() or self.marks.close
        if not self.thinking and said.endswith(answers):
            return None
        return Thought(max(tokens, SHORTEST_THOUGHT), said.endswith(self.marks.open))

    def render(self, messages: Sequence[Message], tools: Sequence[object] = ()) -> Prompt:
        """The prompt behind which the model's answer to the last turn follows.

        Args:
            tools: functions it may call, as OpenAI's interface has them; told in words where the
                template says nothing of them.

        Raises:
            TemplateError: the model's template gives none.
        """
        if self._template:
            return self._template.render(messages, thinking=self.thinking, tools=tools)
        if tools:
            messages = told_of(tools, messages)
        ends = {"user": "\n\nAnswer:", "assistant": "\n\n", "system": "\n\n"}
        turns = (self.begin(m["role"]) + m["content"] + ends[m["role"]] for m in messages)
        return Prompt("".join(turns))

    def begin(self, role: str) -> str:
        """What stands between the prompt and an answer."""
        return " " if role == "assistant" and not self._template else ""
