"""A command on this machine, by Invoke; loaded where there is one, as that takes a while."""

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import IO

from invoke.runners import Local

from llmpi.remote.shell import LINGER_S, Bounded, Lines, Said


class Here(Bounded, Local):
    """Invoke's runner."""

    killed = False

    def read_proc_stdout(self, num_bytes: int) -> bytes:
        return self._read(self.process.stdout, self.streams["out"], num_bytes)

    def read_proc_stderr(self, num_bytes: int) -> bytes:
        return self._read(self.process.stderr, self.streams["err"], num_bytes)

    def kill(self) -> None:
        self.killed = True
        _kill_all(self.process.pid)

    def _read(self, pipe: IO[bytes], into: Said | Lines, num_bytes: int) -> bytes:
        while not select.select([pipe], [], [], LINGER_S)[0]:
            if into.is_over or self.killed:
                return b""
        return os.read(pipe.fileno(), num_bytes)


def _kill_all(pid: int) -> None:
    """A process and what it started: a shell that is killed alone leaves its command behind."""
    with contextlib.suppress(OSError):
        started = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        os.kill(pid, signal.SIGKILL)
        for child in started:
            _kill_all(int(child))
