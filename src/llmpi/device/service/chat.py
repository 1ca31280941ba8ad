"""How the served model is spoken to, and what it answers: as it was scored, thoughts apart."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from llmpi.device.service.tool_calls import SHOWN
from llmpi.engine.chat.thoughts import Marks, marks_among
from llmpi.engine.chat.turns import Prompt, Turns, turns_of
from llmpi.engine.llama import Model
from llmpi.engine.records import Message


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
        model: the one that is served; its vocabulary is enough.
        thinking_tokens: bound on a thought; None where the model is to answer at once.

    Attributes:
        shown: texts of the tokens that a mark is made of, which stand for no text and which the
            engine leaves out of what it writes if it is not told.
        of_calls: likewise those that stand around calls of tools.
    """

    def __init__(self, model: Model, thinking_tokens: int | None) -> None:
        self.thinking_tokens = thinking_tokens
        self._marks: Marks | None = None
        self._turns = _turns_of(model)
        if self._turns:
            self._marks = self._turns.marks or marks_among(model.special_tokens())
        marks = "".join(self._marks or ())
        self.of_calls = [text for text in model.special_tokens() if text in SHOWN]
        self.shown = [text for text in model.special_tokens() if text and text in marks]

    @property
    def has_template(self) -> bool:
        return self._turns is not None

    def prompt(self, turns: Sequence[Message], tools: object, *, thinking: bool) -> Prompt:
        """As the variant was measured and scored.

        Args:
            tools: functions that it may call, as OpenAI's interface has them.

        Raises:
            Exception: whatever the model's own template raises.
        """
        assert self._turns is not None
        return self._turns.prompt(turns, thinking=thinking, tools=tools)

    def parting(self, prompt: Prompt) -> Parting | None:
        """What parts the answer to a prompt; None where the model knows no thoughts."""
        return Parting(self._marks, prompt.opened) if self._marks else None


def _turns_of(model: Model) -> Turns | None:
    """The model's own chat template, as it was scored; None where it has none."""
    template = model.chat_template()
    if not template:
        return None
    bos, eos = model.special_texts()
    turns = turns_of(template, bos_token=bos, eos_token=eos)
    turns.probe()
    return turns
