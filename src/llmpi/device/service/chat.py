"""How the served model is spoken to, and what it answers: as it was scored, thoughts apart.

Needs the `serve` extra.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import llama_cpp
from llama_cpp import Llama
from llama_cpp.llama_chat_format import (
    ChatFormatterResponse,
    chat_formatter_to_chat_completion_handler,
)

from llmpi.engine.chat.thoughts import Marks, marks_among
from llmpi.engine.chat.turns import Prompt, Turns, turns_of

CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
USER_DEFINED = llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED

Json = Any  # requests and pieces of a stream, as OpenAI's interface has them


class Parted(NamedTuple):
    """A piece of what a model writes."""

    thought: str
    answer: str


class Parting:
    """Parts a thought from its answer while they are written.

    Args:
        marks: of the model.
        opened: the prompt ends within a thought.
    """

    def __init__(self, marks: Marks, opened: bool) -> None:
        self._marks = marks
        self._at: Literal["begin", "thought", "answer", "end"] = "thought" if opened else "begin"
        self._held = ""
        self._bare = True
        """Nothing was told of the answer yet."""

    def feed(self, text: str, ended: bool = False) -> Parted:
        """What can be told now, the marks left out.

        Args:
            ended: no more will come: what might have become a mark is text.
        """
        self._held += text
        if self._at == "begin":
            self._look(ended)
        thought = self._until(self._marks.close, "answer", ended) if self._at == "thought" else ""
        answer = ""
        if self._at == "answer" and self._has_begun(ended):
            answer = self._until(self._marks.end, "end", ended)
        return Parted(thought, answer)

    def _look(self, ended: bool) -> None:
        begun, opens, answers = self._held.lstrip(), self._marks.open, self._marks.answer.strip()
        if begun.startswith(opens):
            self._at, self._held = "thought", begun.removeprefix(opens)
            return
        if answers and begun.startswith(answers):
            self._at, self._held = "answer", begun.removeprefix(answers)
            return
        if not ended and (opens.startswith(begun) or answers.startswith(begun)):
            return  # it may become one
        self._at = "answer"
        self._bare = bool(self._marks.begin)

    def _has_begun(self, ended: bool) -> bool:
        """Whether white space and the mark in front of an answer are over; they are taken off."""
        if not self._bare:
            return True
        begun, mark = self._held.lstrip(), self._marks.begin
        if mark and begun.startswith(mark):
            begun = begun.removeprefix(mark).lstrip()
        elif mark.startswith(begun) and not ended:
            return False
        self._held, self._bare = begun, not begun
        return not self._bare

    def _until(self, mark: str, behind: Literal["answer", "end"], ended: bool) -> str:
        """What stands before a mark; where it is not there yet, all that cannot be of it."""
        before, found, rest = self._held.partition(mark) if mark else (self._held, "", "")
        if found:
            self._at, self._held = behind, rest
            return before
        kept = 0 if ended else _begun(self._held, mark)
        self._held = before[len(before) - kept :]
        return before[: len(before) - kept]


def _begun(text: str, mark: str) -> int:
    """How many letters at the end of a text a mark may begin with."""
    sizes = range(min(len(text), len(mark) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(mark[:size])), 0)


class Chat:
    """
    Args:
        llama: the model that serves.
        thinking_tokens: bound on a thought; None where the model is to answer at once.
    """

    def __init__(self, llama: Llama, thinking_tokens: int | None) -> None:
        self._llama, self._thinking_tokens = llama, thinking_tokens
        self._turns = _turns_of_model(llama)
        self._marks: Marks | None = None
        if self._turns:
            self._marks = self._turns.marks or marks_among(_tokens(llama, CONTROL | USER_DEFINED))
        marks = "".join(self._marks or ())
        self._hidden = any(text in marks for text in _tokens(llama, CONTROL) if text)
        self._shown = False
        self._plain = llama.detokenize
        llama.detokenize = self._detokenized

    @property
    def has_template(self) -> bool:
        return self._turns is not None

    def prompt(self, asked: Json) -> Prompt:
        """As the variant was measured and scored.

        Args:
            asked: `messages`, `tools` and `response_format` of a request.

        Raises:
            Exception: whatever the model's own template raises.
        """
        assert self._turns is not None
        return self._turns.prompt(
            asked["messages"], thinking=self._thinks(asked), tools=asked.get("tools")
        )

    def answers(self) -> None:
        """Have the server ask so: without an EOS behind a prompt, and in no other model's
        template."""
        llama = self._llama
        llama._model.add_eos_token = lambda: False
        if self._turns is None:
            return
        bos = llama._model.token_get_text(llama.token_bos()) if llama._model.add_bos_token() else ""

        def formatter(*, prompt: Prompt, **_: Any) -> ChatFormatterResponse:
            return ChatFormatterResponse(bos + prompt.text.removeprefix(bos), added_special=True)

        handler = chat_formatter_to_chat_completion_handler(formatter)

        def answer(**asked: Any) -> Any:
            prompt = self.prompt(asked)
            if self._thinking_tokens and self._thinks(asked) and (asked["max_tokens"] or 0) > 0:
                asked["max_tokens"] += self._thinking_tokens
            if self._marks is None:
                return handler(**asked, prompt=prompt)
            parting = Parting(self._marks, prompt.opened)
            if asked["stream"]:
                return self._streamed(handler(**asked, prompt=prompt), parting)
            with self._showing_marks():
                whole = handler(**asked, prompt=prompt)
            message = whole["choices"][0]["message"]
            message["content"] = parting.feed(message["content"], ended=True).answer
            return whole

        llama.chat_handler = answer

    def _thinks(self, asked: Json) -> bool:
        """Whether it is to: JSON is asked for from the first token on."""
        form = asked.get("response_format") or {}
        return self._thinking_tokens is not None and form.get("type") != "json_object"

    def _streamed(self, chunks: Iterator[Json], parting: Parting) -> Iterator[Json]:
        with self._showing_marks():
            for chunk in chunks:
                [choice] = chunk["choices"]
                over = choice["finish_reason"] is not None
                if over or "content" in choice["delta"]:
                    part = parting.feed(choice["delta"].pop("content", ""), over)
                    delta = {"reasoning_content": part.thought, "content": part.answer}
                    said = {key: text for key, text in delta.items() if text}
                    if over and said:
                        last = {**choice, "delta": said, "finish_reason": None}
                        yield {**chunk, "choices": [last]}
                    choice["delta"] |= {} if over else said
                if over or choice["delta"]:
                    yield chunk

    @contextmanager
    def _showing_marks(self) -> Iterator[None]:
        """Marks may be tokens that stand for no text, which the server leaves out of what it
        writes."""
        self._shown = self._hidden
        try:
            yield
        finally:
            self._shown = False

    def _detokenized(self, tokens: Any, prev_tokens: Any = None, special: bool = False) -> bytes:
        return self._plain(tokens, prev_tokens, special or self._shown)


def _turns_of_model(llama: Llama) -> Turns | None:
    """The model's own chat template, as it was scored; None where it has none."""
    template = llama.metadata.get("tokenizer.chat_template")
    if not template:
        return None
    bos, eos = (
        llama._model.token_get_text(token) if token != -1 else ""
        for token in (llama.token_bos(), llama.token_eos())
    )
    turns = turns_of(template, bos_token=bos, eos_token=eos)
    turns.probe()
    return turns


def _tokens(llama: Llama, kinds: int) -> Iterator[str]:
    for token in range(llama.n_vocab()):
        if llama._model.token_get_attr(token) & kinds:
            yield llama._model.token_get_text(token)
