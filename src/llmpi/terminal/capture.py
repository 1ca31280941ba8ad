"""What this process and its children write to the terminal, caught while something is drawn there.

Into a file, not a pipe: who writes to it never waits for who reads it, and outlives it.
"""

import os
import tempfile
from typing import IO

STDOUT, STDERR = 1, 2


class Capture:
    """Begins where it is made, and ends with `release`; until then `terminal` is the terminal."""

    def __init__(self) -> None:
        self.terminal: IO[str] = os.fdopen(
            os.dup(STDERR), "w", encoding="utf-8", errors="backslashreplace"
        )
        self._caught = tempfile.TemporaryFile(mode="a+b", prefix="llmpi-")  # noqa: SIM115
        self._read, self._pending = 0, b""
        self._kept = {fd: os.dup(fd) for fd in (STDOUT, STDERR) if os.isatty(fd)}
        for fd in self._kept:
            os.dup2(self._caught.fileno(), fd)

    def lines(self) -> list[str]:
        """Those that were written since the last call, as far as they are whole."""
        *whole, self._pending = (self._pending + self._new()).split(b"\n")
        # Of a bar that is drawn over and over, how it stands now.
        return [line.rstrip(b"\r").split(b"\r")[-1].decode("utf-8", "replace") for line in whole]

    def _new(self) -> bytes:
        found = os.pread(self._caught.fileno(), 1 << 20, self._read)
        self._read += len(found)
        return found

    def release(self) -> list[str]:
        """Give the terminal back: what is left."""
        for fd, terminal in self._kept.items():
            os.dup2(terminal, fd)
            os.close(terminal)
        self._kept = {}
        left = []
        while some := self.lines():
            left += some
        if self._pending:
            left.append(self._pending.decode("utf-8", "replace"))
            self._pending = b""
        return left
