"""A model's chat template, rendered in a process of its own, within limits of time and memory.

A template is a program out of an untrusted file. Jinja's sandbox keeps it from files and from the
network, and lets it loop or grow for ever. `python -m llmpi.engine.chat.template` is the process:
on a line of its standard input the template, then the turns of each prompt; for each line one comes
back.
"""

import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmpi.engine.chat.thoughts import Marks
from llmpi.engine.chat.turns import Prompt, Turns, turns_of
from llmpi.engine.records import Message
from llmpi.engine.supervise import die_with_parent

START_S = 25.0
"""Of processor time, to begin and to compile the template: on a machine that has other things to do
a good template takes no more of that."""
RENDER_S = 20.0
"""For one prompt, alike; those before it give it what they leave of `EACH_S`."""
EACH_S = 0.25
LOOK_S = 0.1
"""Between looks at what it has taken."""
PATIENCE = 30
"""So many times that as it passes, for a process that gets none."""
MOST_BYTES = 2 * 1024**3
"""Of memory, beside what the process has once it is ready."""
MOST_CHARACTERS = 10_000_000
"""Of one prompt."""


class TemplateError(Exception):
    """The model's chat template gives no prompt; the message says why."""


class RefusedTurnsError(TemplateError):
    """It gives none for these turns, and goes on with others."""


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

    def render(
        self, messages: Sequence[Message], *, thinking: bool, tools: Sequence[object] = ()
    ) -> Prompt:
        """The prompt for these turns.

        Args:
            tools: functions the model may call, as OpenAI's interface has them.
            thinking: how the template's own switch is set, where it has one.

        Raises:
            RefusedTurnsError: the template raises.
            TemplateError: it has no end, or writes no bounded text.
        """
        self._start()
        assert self._child is not None
        begun = _processor_s(self._child.pid)
        asked = {"messages": list(messages), "thinking": thinking, "tools": list(tools) or None}
        try:
            answer = self._ask(asked, self._left_s)
        finally:  # one that was broken off took all that was left
            spent = _processor_s(self._child.pid) - begun if self._child else self._left_s
            self._left_s = min(RENDER_S, self._left_s + EACH_S - spent)
        return Prompt(**answer)

    def _start(self) -> None:
        if self._child is None:
            self._child = _started()
            try:
                self._ask(self._begin, START_S)
            except RefusedTurnsError as error:
                self.close()
                raise TemplateError(str(error)) from None  # it is none, whatever the turns
            answer = self._ask({}, RENDER_S)
            self._marks = Marks(*answer["marks"]) if answer["marks"] else None

    def _ask(self, said: object, within_s: float) -> dict[str, Any]:  # what the child wrote
        assert self._child is not None
        try:
            line = _exchange(self._child, json.dumps(said).encode() + b"\n", within_s)
        except TemplateError:
            self.close()
            raise
        answer: dict[str, Any] = json.loads(line)  # as `main` writes them
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

    Args:
        within_s: of the child's processor time.

    Raises:
        TemplateError: it takes longer, or the process died.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    to, back = child.stdin.fileno(), child.stdout.fileno()
    begun, deadline = _processor_s(child.pid), time.monotonic() + PATIENCE * within_s
    heard = b""
    while not heard.endswith(b"\n"):
        readable, writable, _ = select.select([back], [to] if said else [], [], LOOK_S)
        if not readable and not writable:
            if _processor_s(child.pid) - begun < within_s and time.monotonic() < deadline:
                continue
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


def _processor_s(pid: int) -> float:
    """Of a process and its threads; see proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0  # it is gone, which is heard
    _, _, behind = fields.rpartition(")")
    user, system = behind.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


# --- in the child ---------------------------------------------------------------------------------


def main() -> None:
    import llama_cpp.llama_chat_format  # noqa: F401 - what it takes is no template's

    has = (
        int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        * resource.getpagesize()
    )
    resource.setrlimit(resource.RLIMIT_AS, (has + MOST_BYTES, has + MOST_BYTES))
    turns: Turns | None = None
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        answer: dict[str, object]  # to what was asked, or an error
        try:
            if turns is None:
                turns = turns_of(**asked)
                answer = {}
            elif not asked:
                turns.probe()
                answer = {"marks": turns.marks}
            else:
                prompt = turns.prompt(**asked)
                prompt.text.encode()  # a template can write half a character
                if len(prompt.text) > MOST_CHARACTERS:
                    raise ValueError(f"it writes more than {MOST_CHARACTERS:,} characters")
                answer = prompt._asdict()
        except MemoryError:
            answer = {"error": f"it asks for more than {MOST_BYTES // 1024**3} GiB of memory"}
        except Exception as error:  # whatever a stranger's program raises
            answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
