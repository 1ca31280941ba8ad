"""A chat template and what its author left to find out, rendered in this process.

What a template knows of thoughts is found by rendering probes, not by its name. Jinja's sandbox
keeps it from files and from the network, and lets it loop or grow for ever: see
`llmpi.engine.chat.template` for one that is to have limits.
"""

import json
import re
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from llmpi.engine.chat.thoughts import Marks
from llmpi.engine.records import Message

# A template may ask for today's date; a prompt that changes overnight cannot be compared.
FROZEN_DATE = "26 Jul 2024"

Render = Callable[..., str]
"""The prompt for turns and the template's variables."""

QUESTION: list[Message] = [{"role": "user", "content": "@question@"}]
THOUGHTFUL = (
    *(
        {"role": "assistant", "content": "@answer@", key: "@thought@"}
        for key in ("reasoning_content", "thinking")
    ),
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "@thought@"},
            {"type": "text", "text": "@answer@"},
        ],
    },
)
"""Turns with a thought, as the interfaces have them that templates know."""
SYSTEM: Message = {"role": "system", "content": "@system@"}
TOOL = {
    "type": "function",
    "function": {
        "name": "@tool@",
        "description": "@what for@",
        "parameters": {"type": "object", "properties": {}},
    },
}
TOOLS = """\
You can call these functions. To call one, answer with nothing but JSON of this form:
{{"name": "the function's name", "arguments": {{"an argument's name": "its value"}}}}

{}"""
"""What a model is told of tools where its template says nothing of them."""
CLOSING = re.compile(r"([<\[◁]\|?)/(\w[\w:]*)(\|?[>\]▷])")
"""Marks that close: those that open lack the slash."""
MARK = re.compile(r"[<\[◁][^\s<>\[\]◁▷]+[>\]▷](?:\w+(?=\n))?")
ABOUT_THINKING = re.compile(r"\b\w*(?:think|reason)\w*\b")


class Prompt(NamedTuple):
    """What is asked, as text."""

    text: str
    opened: bool = False
    """It ends within a thought."""
    folded: bool = False
    """The system turn stands at the head of the first user turn: the template knows none."""


class Turns:
    """A template that is asked for prompts, once it was probed.

    Attributes:
        marks: what the model writes around its thoughts, where the template tells.
    """

    def __init__(self, source: str, render: Render) -> None:
        self._source, self._render = source, render
        self._switches: list[str] = []
        self._folds = False
        self._tells_tools = False
        self.marks: Marks | None = None

    def probe(self) -> None:
        """Learn what the template can do, and what it puts around thoughts."""
        names = dict.fromkeys(ABOUT_THINKING.findall(self._source))
        self._switches = [name for name in names if self._switched_by(name)]
        self._folds = SYSTEM["content"] not in self._tried([SYSTEM, *QUESTION], thinking=False)
        self._tells_tools = "@tool@" in self._tried(QUESTION, thinking=False, tools=[TOOL])
        marks = dict.fromkeys(CLOSING.findall(self._source))
        found = (Marks(f"{a}{name}{b}", f"{a}/{name}{b}") for a, name, b in marks)
        self.marks = self._empty_thought() or next(filter(self._are_thoughts, found), None)

    def prompt(
        self, messages: Sequence[Message], *, thinking: bool, tools: object = None
    ) -> Prompt:
        """The prompt behind which the answer to the last turn follows.

        A system turn is folded into the next, as llama.cpp does it, where the template refuses one
        or leaves it out. Tools that it leaves out are told in a system turn. A thought that the
        template opens though there is to be none is closed.
        """
        if tools and not self._tells_tools:
            messages, tools = told_of(tools, messages), None
        systems = list(takewhile(lambda turn: turn["role"] == "system", messages))
        rest = messages[len(systems) :]
        folds = self._folds and bool(systems) and bool(rest)
        if folds:
            content = "\n".join(text_of(turn) for turn in [*systems, rest[0]])
            messages = [{**rest[0], "content": content}, *rest[1:]]
        text = self._asked(messages, thinking, tools)
        opened = self.marks is not None and text.rstrip().endswith(self.marks.open)
        if self.marks and opened and not thinking:
            text, opened = f"{text.rstrip()}\n\n{self.marks.close}\n\n", False
        return Prompt(text, opened, folds)

    def _asked(self, messages: Sequence[Message], thinking: bool, tools: object = None) -> str:
        switches = dict.fromkeys(self._switches, thinking)
        return self._render(messages=list(messages), tools=tools, **switches)

    # --- what is found out ------------------------------------------------------------------------

    def _tried(self, messages: Sequence[Message], thinking: bool, tools: object = None) -> str:
        """The prompt; none where the template wants other turns: it says so when it is asked."""
        try:
            return self._asked(messages, thinking, tools)
        except Exception:  # whatever a stranger's program raises
            return ""

    def _switched_by(self, name: str) -> bool:
        """Whether this variable, on or off, changes how a question is put."""
        try:
            on, off = (self._render(messages=QUESTION, **{name: x}) for x in (True, False))
        except Exception:  # it wants something else than on or off
            return False
        return on != off and ("True" in on) <= ("True" in off)  # else it wants a number or a name

    def _empty_thought(self) -> Marks | None:
        """Its two marks, where the switch alone decides whether one stands behind the question, or
        ends there."""
        on, off = (self._behind_question(thinking) for thinking in (True, False))
        opened, added = MARK.findall(on), MARK.findall(off.removeprefix(on))
        if not off.startswith(on) or not added:
            return None
        if len(added) == 1 and opened and on.rstrip().endswith(opened[-1]):
            added = [opened[-1], *added]
        if len(added) != 2 or self._begins_answers(added[0]):
            return None
        return Marks(*added)

    def _begins_answers(self, mark: str) -> bool:
        """Whether it only says whose turn it is."""
        answered: list[Message] = [*QUESTION, {"role": "assistant", "content": "@answer@"}]
        before = self._tried(answered, thinking=True).partition("@answer@")[0]
        return before.rstrip().endswith(mark)

    def _behind_question(self, thinking: bool) -> str:
        return self._tried(QUESTION, thinking).rpartition(QUESTION[0]["content"])[2]

    def _are_thoughts(self, marks: Marks) -> bool:
        """Whether the template opens a thought so, fills it, asks for it, or forgets it."""
        on, off = (self._tried(QUESTION, thinking) for thinking in (True, False))
        if on.rstrip().endswith(marks.open) or (marks.close in on and marks.close not in off):
            return True
        if any(self._fills(marks, turn) for turn in THOUGHTFUL):
            return True
        said = f"{marks.open}\n@thought@\n{marks.close}\n\n@answer@"
        turns: list[Any] = [*QUESTION, {"role": "assistant", "content": said}] * 2
        turns[-1] = {"role": "assistant", "content": "@later@"}
        later = self._tried([*turns, *QUESTION], thinking=True)
        return "@answer@" in later and "@thought@" not in later

    def _fills(self, marks: Marks, turn: Any) -> bool:
        """Whether it writes a thought that is told apart from its answer between these marks."""
        text = self._tried([*QUESTION, turn], thinking=True)
        between = rf"{re.escape(marks.open)}\s*@thought@\s*{re.escape(marks.close)}"
        return re.search(between, text) is not None


def told_of(tools: object, messages: Sequence[Message]) -> list[Message]:
    """These turns with a system turn that tells of tools, which the one that is there joins."""
    told = TOOLS.format(json.dumps(tools, ensure_ascii=False, indent=2))
    if messages and messages[0]["role"] == "system":
        told, messages = f"{told}\n\n{text_of(messages[0])}", messages[1:]
    return [{"role": "system", "content": told}, *messages]


def text_of(turn: Message) -> str:
    """What a turn says; a client of the service may send it in parts."""
    parts: object = turn["content"]
    if isinstance(parts, list):
        return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
    return str(parts or "")


def turns_of(template: str, *, bos_token: str, eos_token: str) -> Turns:
    """
    Args:
        template: Jinja.
        bos_token, eos_token: the texts of these tokens, which templates refer to.
    """
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    class Frozen(Jinja2ChatFormatter):
        """Renders in jinja's sandbox."""

        @staticmethod
        def strftime_now(f: str) -> str:  # noqa: ARG004 - the parent's signature
            return FROZEN_DATE

    formatter = Frozen(template, eos_token=eos_token, bos_token=bos_token)
    return Turns(template, lambda **asked: str(formatter(**asked).prompt))
