"""A model's chat template, rendered in a process of its own, within limits of time and memory.

A template is a program out of an untrusted file. Jinja's sandbox keeps it from files and from the
network, and lets it loop or grow for ever. `python -m llmpi.engine.chat.template` is the process:
on a line of its standard input the template, then the turns of each prompt; for each line one comes
back. What a template knows of thoughts is found by rendering probes, not by its name.
"""

import json
import os
import re
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmpi.engine.chat.thoughts import Marks
from llmpi.engine.records import Message
from llmpi.engine.supervise import die_with_parent

START_S = 25.0
"""To begin, and to compile the template."""
RENDER_S = 20.0
"""For one prompt; those before it give it what they leave of `EACH_S`."""
EACH_S = 0.25
MOST_BYTES = 2 * 1024**3
"""Of memory, beside what the process has once it is ready."""
MOST_CHARACTERS = 10_000_000
"""Of one prompt."""

# A template may ask for today's date; a prompt that changes overnight cannot be compared.
FROZEN_DATE = "26 Jul 2024"


class TemplateError(Exception):
    """The model's chat template gives no prompt; the message says why."""


class RefusedTurnsError(TemplateError):
    """It gives none for these turns, and goes on with others."""


class Rendered(NamedTuple):
    """A prompt."""

    text: str
    folded: bool
    """The template knows no system turn: it stands at the head of the first user turn."""


class Template:
    """The process, which starts with the first prompt and ends with this object.

    Args:
        text: the template (Jinja).
        bos_token, eos_token: the texts of these tokens, which templates refer to.
    """

    def __init__(self, text: str, *, bos_token: str, eos_token: str) -> None:
        self._begin = {"template": text, "bos_token": bos_token, "eos_token": eos_token}
        self._left_s = RENDER_S
        self._child: subprocess.Popen[bytes] | None = None
        self._marks: Marks | None = None

    @property
    def marks(self) -> Marks | None:
        """What the model writes around its thoughts, where its template tells.

        Raises:
            TemplateError: it is no template.
        """
        self._start()
        return self._marks

    def render(self, messages: Sequence[Message], *, thinking: bool) -> Rendered:
        """The prompt for these turns.

        Args:
            thinking: how the template's own switch is set, where it has one.

        Raises:
            RefusedTurnsError: the template raises.
            TemplateError: it has no end, or writes no bounded text.
        """
        self._start()
        begun = time.monotonic()
        asked = {"messages": list(messages), "thinking": thinking}
        try:
            answer = self._ask(asked, self._left_s)
        finally:
            spent = time.monotonic() - begun
            self._left_s = min(RENDER_S, self._left_s + EACH_S - spent)
        return Rendered(answer["text"], answer["folded"])

    def _start(self) -> None:
        if self._child is None:
            self._child = _started()
            self._ask(self._begin, START_S)
            answer = self._ask({}, RENDER_S)
            self._marks = Marks(*answer["marks"]) if answer["marks"] else None

    def _ask(self, said: object, within_s: float) -> dict[str, Any]:  # what the child wrote
        assert self._child is not None
        try:
            line = _exchange(self._child, json.dumps(said).encode() + b"\n", within_s)
        except TemplateError:
            self.close()
            raise
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RefusedTurnsError(f"the model's chat template: {answer['error']}")
        return answer

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def __del__(self) -> None:
        self.close()


def _started() -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    assert child.stdin is not None
    os.set_blocking(child.stdin.fileno(), False)
    return child


def _exchange(child: subprocess.Popen[bytes], said: bytes, within_s: float) -> bytes:
    """Say a line, hear a line.

    Raises:
        TemplateError: it takes longer, or the process died.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    to, back = child.stdin.fileno(), child.stdout.fileno()
    deadline = time.monotonic() + within_s
    heard = b""
    while not heard.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        readable, writable, _ = select.select([back], [to] if said else [], [], left)
        if not readable and not writable:
            raise TemplateError(
                f"the model's chat template has no end: it was broken off after {within_s:.0f} s"
            )
        try:
            if writable:
                said = said[os.write(to, said) :]
            piece = os.read(back, 1 << 16) if readable else b" "
        except BrokenPipeError:
            piece = b""
        if not piece:
            raise TemplateError("the model's chat template ended the process that renders it")
        if readable:
            heard += piece
    return heard


# --- in the child ---------------------------------------------------------------------------------

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
CLOSING = re.compile(r"([<\[◁]\|?)/(\w[\w:]*)(\|?[>\]▷])")
"""Marks that close: those that open lack the slash."""
MARK = re.compile(r"[<\[◁][^\s<>\[\]◁▷]+[>\]▷]\w*")
ABOUT_THINKING = re.compile(r"\b\w*(?:think|reason)\w*\b")


class Turns:
    """A template, with what its author left to find out."""

    def __init__(self, source: str, render: Render) -> None:
        self._source, self._render = source, render
        self._switches: list[str] = []
        self._folds = False

    def probe(self) -> Marks | None:
        """Learn what the template can do, and what it puts around thoughts."""
        names = dict.fromkeys(ABOUT_THINKING.findall(self._source))
        self._switches = [name for name in names if self._switched_by(name)]
        self._folds = SYSTEM["content"] not in self._tried([SYSTEM, *QUESTION], thinking=False)
        marks = dict.fromkeys(CLOSING.findall(self._source))
        found = (Marks(f"{a}{name}{b}", f"{a}/{name}{b}") for a, name, b in marks)
        return self._empty_thought() or next(filter(self._are_thoughts, found), None)

    def prompt(self, messages: list[Message], thinking: bool) -> dict[str, object]:
        """Text, and whether the system turn was folded into the next, as llama.cpp does it where a
        template refuses one, or leaves it out."""
        folds = self._folds and messages[0]["role"] == "system" and len(messages) > 1
        if folds:
            content = f"{messages[0]['content']}\n{messages[1]['content']}"
            messages = [{**messages[1], "content": content}, *messages[2:]]
        return {"text": self._asked(messages, thinking), "folded": folds}

    def _asked(self, messages: list[Message], thinking: bool) -> str:
        return self._render(messages=messages, **dict.fromkeys(self._switches, thinking))

    # --- what is found out ------------------------------------------------------------------------

    def _tried(self, messages: list[Message], thinking: bool) -> str:
        """The prompt; none where the template wants other turns: it says so when it is asked."""
        try:
            return self._asked(messages, thinking)
        except Exception:  # whatever a stranger's program raises
            return ""

    def _switched_by(self, name: str) -> bool:
        """Whether this variable, on or off, changes how a question is put."""
        try:
            on, off = (self._render(messages=QUESTION, **{name: x}) for x in (True, False))
        except Exception:  # it wants something else than on or off
            return False
        return on != off

    def _empty_thought(self) -> Marks | None:
        """Its two marks, where the switch alone decides whether one stands behind the question, or
        ends there."""
        on, off = (self._behind_question(thinking) for thinking in (True, False))
        opened, added = MARK.findall(on), MARK.findall(off.removeprefix(on))
        if not off.startswith(on) or not added:
            return None
        if len(added) == 1 and opened and on.rstrip().endswith(opened[-1]):
            return Marks(opened[-1], added[0])
        return Marks(*added) if len(added) == 2 else None

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


def main() -> None:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    class Frozen(Jinja2ChatFormatter):
        """Renders in jinja's sandbox."""

        @staticmethod
        def strftime_now(f: str) -> str:  # noqa: ARG004 - the parent's signature
            return FROZEN_DATE

    def prompt_of(formatter: Frozen) -> Render:
        return lambda **asked: str(formatter(**asked).prompt)

    has = (
        int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        * resource.getpagesize()
    )
    resource.setrlimit(resource.RLIMIT_AS, (has + MOST_BYTES, has + MOST_BYTES))
    turns: Turns | None = None
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        answer: dict[str, object]
        try:
            if turns is None:
                turns = Turns(asked["template"], prompt_of(Frozen(**asked)))
                answer = {}
            elif not asked:
                answer = {"marks": turns.probe()}
            else:
                answer = turns.prompt(**asked)
                text = str(answer["text"])
                text.encode()  # a template can write half a character
                if len(text) > MOST_CHARACTERS:
                    raise ValueError(f"it writes more than {MOST_CHARACTERS:,} characters")
        except Exception as error:  # whatever a stranger's program raises
            answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
