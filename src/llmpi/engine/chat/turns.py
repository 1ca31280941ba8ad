"""A chat template and what its author left to find out, rendered in this process.

What a template knows of thoughts is found by rendering probes, not by its name. Jinja's sandbox
keeps it from files and from the network, and lets it loop or grow for ever: see
`llmpi.engine.chat.template` for one that is to have limits.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from llmpi.engine.chat.thoughts import Marks
from llmpi.engine.records import Message

# A template may ask for today's date; a prompt that changes overnight cannot be compared.
FROZEN_DATE = "26 Jul 2024"

Render = Callable[..., str]
"""The prompt for turns and the template's variables; where they `ended`, without the beginning of
the model's next turn."""

QUESTION: list[Message] = [{"role": "user", "content": "@question@"}]
_Turn = dict[str, Any]  # as the interfaces have it: its keys are what is tried
ANSWER: _Turn = {"role": "assistant", "content": "@answer@"}
THOUGHTFUL = (
    *({**ANSWER, key: "@thought@"} for key in ("reasoning_content", "thinking", "reasoning")),
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "@thought@"},
            {"type": "text", "text": "@answer@"},
        ],
    },
    {
        "role": "assistant",
        "content": {
            "blocks": [
                {"type": "thoughts", "text": "@thought@"},
                {"type": "response", "text": "@answer@"},
            ]
        },
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
FORM = re.compile(r"([<\[]BEGIN ([A-Z_ ]+)[>\]])\s*\.\.\.\s*([<\[]END \2[>\]])")
"""A form of answers, as a prompt words it."""
EMPTY = re.compile(r"([<\[](\w+)[>\]])([<\[]/\2[>\]])")
AS_DATA = re.compile(r"""["']type["']""")
"""In a turn of several parts that a template writes down as it is."""
BEGINS_END = re.compile(rf"{MARK.pattern}(?:\w+{MARK.pattern})?")
"""What ends an answer: a mark, or a word between two."""
MOST, LEAST = "high", ("none", "no_think", "minimal")
"""Efforts of thinking, as templates call them that want one."""
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
        self._switches: dict[str, tuple[object, object]] = {}
        self._folds = False
        self._tells_tools = False
        self.marks: Marks | None = None

    def probe(self) -> None:
        """Learn what the template can do, and what it puts around thoughts."""
        names = dict.fromkeys(ABOUT_THINKING.findall(self._source))
        self._switches = self._those_of(names, [(True, False)])
        if not self._switches:
            self._switches = self._those_of(names, [(MOST, effort) for effort in LEAST])
        self._folds = SYSTEM["content"] not in self._tried([SYSTEM, *QUESTION], thinking=False)
        self._tells_tools = "@tool@" in self._tried(QUESTION, thinking=False, tools=[TOOL])
        marks = dict.fromkeys(CLOSING.findall(self._source))
        pairs = (Marks(f"{a}{name}{b}", f"{a}/{name}{b}") for a, name, b in marks)
        self.marks = (
            self._empty_thought()
            or next(filter(self._are_thoughts, pairs), None)
            or next(filter(None, map(self._between, THOUGHTFUL)), None)
            or self._asked_for()
        )
        self.marks = self.marks and self._with_response(self.marks)

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
        if self.marks and not thinking:
            if opened:
                text, opened = f"{text.rstrip()}\n\n{self.marks.close}\n\n", False
            elif not text.rstrip().endswith(self.marks.answer.strip()):
                text += self.marks.answer
        return Prompt(text, opened, folds)

    def _asked(self, messages: Sequence[Message], thinking: bool, tools: object = None) -> str:
        return self._render(messages=list(messages), tools=tools, **self._set(thinking))

    def _set(self, thinking: bool) -> dict[str, object]:
        """The template's switches."""
        return {name: pair[not thinking] for name, pair in self._switches.items()}

    # --- what is found out ------------------------------------------------------------------------

    def _tried(self, messages: Sequence[Message], thinking: bool, tools: object = None) -> str:
        """The prompt; none where the template wants other turns: it says so when it is asked."""
        try:
            return self._asked(messages, thinking, tools)
        except Exception:  # whatever a stranger's program raises
            return ""

    def _those_of(
        self, names: Iterable[str], pairs: Sequence[tuple[object, object]]
    ) -> dict[str, tuple[object, object]]:
        """The variables that are a switch, with the first pair that is on and off."""
        found = {
            name: next((p for p in pairs if self._switched_by(name, p)), None) for name in names
        }
        return {name: pair for name, pair in found.items() if pair}

    def _switched_by(self, name: str, pair: tuple[object, object]) -> bool:
        """Whether this variable, on or off, changes how a question is put; one that takes the name
        of an effort, what an answer begins with."""
        try:
            on, off = (self._render(messages=QUESTION, **{name: x}) for x in pair)
        except Exception:  # it wants something else
            return False
        if pair[0] is not True:
            on, off = (text.rpartition(QUESTION[0]["content"])[2] for text in (on, off))
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
        empty = rf"{re.escape(marks.open)}\s*{re.escape(marks.close)}\s*@answer@"
        if re.search(empty, self._written(ANSWER, thinking=True)):
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

    # --- by what differs --------------------------------------------------------------------------

    def _between(self, turn: Any) -> Marks | None:
        """What stands around a thought, and around an answer, in a turn with both: whatever comes
        behind what the prompt for a turn ends with."""
        text = self._written(turn, thinking=True)
        before, thought, rest = text.partition("@thought@")
        between, answer, behind = rest.partition("@answer@")
        if not (thought and answer and between.strip()) or AS_DATA.search(between):
            return None
        prompt = self._behind_question(thinking=True)
        close, begun = between.strip(), _common(before, prompt)
        said, asked = before[len(begun) :].strip(), prompt[len(begun) :].strip()
        if said and asked:  # another turn begins so
            return None
        if not said and not asked:  # the prompt opens it: as far as one without a thought goes
            begun = _common(before, self._behind_question(thinking=False)).rstrip()
            begun = begun.removesuffix(_last_mark(begun))
            said = before[len(begun) :].strip()
        elif asked.startswith(close):  # the prompt closes it at once
            said, asked = _last_mark(before), ""
            begun = before.rstrip().removesuffix(said)
        if not (opens := said or asked):
            return None
        plain = self._written(ANSWER, thinking=False).partition("@answer@")[0]
        bare = plain.removeprefix(begun) if plain.startswith(begun) else ""
        if close.startswith(bare.strip()) or opens in bare or close in bare:
            bare = ""
        end = BEGINS_END.match(behind.strip())
        return Marks(opens, close, bare, end=end[0] if end else "")

    def _asked_for(self) -> Marks | None:
        """The marks that the prompt itself asks for, around an answer behind its reasons: these
        begin with the turn."""
        found = FORM.search(self._tried(QUESTION, thinking=True))
        begins = _last_mark(self._behind_question(thinking=True))
        return Marks(begins, found[1], end=found[3]) if found and begins else None

    def _with_response(self, marks: Marks) -> Marks:
        """With the marks around an answer, where the prompt asks for both, empty as they stand."""
        asked = self._tried(QUESTION, thinking=True)
        _, thought, behind = asked.rpartition(marks.open + marks.close)
        found = EMPTY.search(behind.partition(QUESTION[0]["content"])[0]) if thought else None
        return marks._replace(begin=found[1], end=found[3]) if found else marks

    def _written(self, turn: Any, *, thinking: bool) -> str:
        """A turn of the model's behind a question, as the template writes it down."""
        try:
            text = self._render(messages=[*QUESTION, turn], ended=True, **self._set(thinking))
        except Exception:  # whatever a stranger's program raises
            return ""
        return text.rpartition(QUESTION[0]["content"])[2]


def _common(one: str, other: str) -> str:
    """What two texts begin with."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in pairs)


def _last_mark(text: str) -> str:
    """The mark that a text ends with; nothing where it ends with none."""
    marks = MARK.findall(text)
    return marks[-1] if marks and text.rstrip().endswith(marks[-1]) else ""


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

    texts = {"eos_token": eos_token, "bos_token": bos_token}
    open_, ended_ = (Frozen(template, add_generation_prompt=x, **texts) for x in (True, False))

    def render(*, ended: bool = False, **asked: Any) -> str:
        return str((ended_ if ended else open_)(**asked).prompt)

    return Turns(template, render)
