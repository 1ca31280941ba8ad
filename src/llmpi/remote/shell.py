"""A command through somebody's login shell: its own output told from the shell's, and bounded.

What a device runs goes through the login shell of its user, whose files may print, wait or never
end. So a command's output stands between marks; what stands outside of them is the shell's.
"""

import codecs
import io
import re
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, Any

MOST_CHARACTERS = 64 << 20
"""Of a command: a record of a day's measurement has some millions."""
MOST_OF_THE_SHELL = 1 << 20
"""Characters before a command."""
LINGER_S = 0.5
"""So long after a command's end the shell may still say something."""
CHUNK_BYTES = 1 << 15
LINE_CHARACTERS = 1 << 16
MOST_OF_THE_LOG = 8 << 20
TAIL_LINES = 100


class FloodError(Exception):
    """It prints and does not stop."""


class Said:
    """What comes on a command's stdout."""

    def __init__(self, mark: str) -> None:
        self._mark, self._text, self._pending, self._count = mark, io.StringIO(), "", 0
        self.before = self.after = ""
        """What the shell said."""
        self.started = False
        self.status: int | None = None
        """The command's own, once it has ended."""

    @property
    def is_over(self) -> bool:
        return self.status is not None

    @property
    def answer(self) -> str:
        """What the command said."""
        return self._text.getvalue()

    @property
    def noise(self) -> str:
        """What its shell said around it."""
        return " ".join(f"{self.before} {self.after}".split())

    def write(self, text: str) -> None:
        """
        Raises:
            FloodError: it is too much.
        """
        self._count += len(text)
        self._pending += text
        if not self.started:
            before, found, rest = self._pending.partition(self._mark)
            self.before = before[:MOST_OF_THE_SHELL]
            if not found:
                if self._count > MOST_OF_THE_SHELL:
                    raise FloodError
                return
            self.started, self._pending = True, rest
        if self.started and not self.is_over:
            self._take()
        if self.is_over:
            self.after, self._pending = self.after + self._pending, ""
        if self._count > MOST_CHARACTERS or len(self.after) > MOST_OF_THE_SHELL:
            raise FloodError

    def _take(self) -> None:
        found = re.search(re.escape(self._mark) + r"(\d+);", self._pending)
        if found:
            self._text.write(self._pending[: found.start()])
            self.status, self._pending = int(found.group(1)), self._pending[found.end() :]
            return
        safe = max(0, len(self._pending) - len(self._mark) - 8)  # what may be half a mark stays
        self._text.write(self._pending[:safe])
        self._pending = self._pending[safe:]


class Lines:
    """What comes on its stderr, handed on line by line."""

    def __init__(self, mark: str, log: Callable[[str], None] | None) -> None:
        self._mark, self._log = mark, log or (lambda _: None)
        self._pending, self._count, self.is_over = "", 0, False
        self._tail = deque[str](maxlen=TAIL_LINES)

    @property
    def tail(self) -> str:
        """The last of it."""
        return "".join(f"{line}\n" for line in self._tail)

    def write(self, text: str) -> None:
        """
        Raises:
            FloodError: it is too much.
        """
        self._count += len(text)
        text, found, rest = (self._pending + text).partition(self._mark)
        self.is_over = self.is_over or bool(found)
        *lines, self._pending = (text + rest).split("\n")
        for line in lines:
            self._tell(line)
        if self._pending and (found or len(self._pending) > LINE_CHARACTERS):
            self._tell(self._pending)
            self._pending = ""
        if self._count > MOST_OF_THE_LOG:
            raise FloodError

    def _tell(self, line: str) -> None:
        self._tail.append(line)
        if line:
            self._log(line)


class Call:
    """A command that is to be started, and what is heard of it."""

    def __init__(self, argv: Sequence[str], log: Callable[[str], None] | None) -> None:
        first, second = secrets.token_hex(8), secrets.token_hex(8)
        # The mark itself stands nowhere in the command: a shell may print what it is told to run.
        say = f"printf %s%s%s {first} {second}"
        script = f"{say} ''; \"$@\"; s=$?; {say} $s\\;; {say} '' >&2; exit $s"
        self.argv = ["sh", "-c", script, "sh", *argv]
        self.said = Said(first + second)
        self.lines = Lines(first + second, log)

    def options(self, timeout_s: float | None) -> dict[str, Any]:  # keywords of theirs
        """For Fabric's and Invoke's `run`."""
        streams = {"out_stream": self.said, "err_stream": self.lines, "in_stream": False}
        return {**streams, "warn": True, "timeout": timeout_s}


class Bounded:
    """Hands on what comes as it comes and keeps nothing itself; UTF-8, whatever the locale."""

    kill: Callable[[], None]

    def _handle_output(
        self,
        buffer_: list[str],  # noqa: ARG002 - Invoke's, all that came
        hide: bool,  # noqa: ARG002
        output: IO[str],
        reader: Callable[[int], bytes],
    ) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            while piece := reader(CHUNK_BYTES):
                output.write(decoder.decode(piece))
        except FloodError:
            self.kill()
            raise
