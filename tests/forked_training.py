"""Training's processes, and the converter's, as forks of one that has imported torch and
transformers."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from support import ROOT

from llmpi.engine import supervise
from llmpi.gguf.converter import OFFLINE
from llmpi.train.child import ENVIRONMENT

PLAIN = supervise.started
OF_TORCH = ("llmpi.train", "llmpi.gguf.hf_to_gguf")


class Forked:
    """As much of `subprocess.Popen` as `supervise` needs; one after another."""

    _one_at_a_time = threading.Lock()

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        assert self._one_at_a_time.acquire(blocking=False), "no test has two of them at once"
        self.returncode: int | None = None
        self._server, self._said = server()
        reads, writes = os.pipe()
        self.stderr = os.fdopen(reads, "rb")
        asked = {"command": command, "env": dict(env), "cwd": str(Path.cwd())}
        socket.send_fds(self._server, [json.dumps(asked).encode()], [writes])
        os.close(writes)
        self._pid = int(self._said.readline())

    def kill(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> None:
        if self.returncode is None:
            self.returncode = int(self._said.readline())
            self._one_at_a_time.release()


@functools.cache
def server() -> tuple[socket.socket, IO[str]]:
    """What asks it, and what it answers; it ends with this process."""
    ours, theirs = socket.socketpair()
    subprocess.Popen(
        [sys.executable, str(ROOT / "tests/training_forks.py"), str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env={**os.environ, **ENVIRONMENT, **OFFLINE},
    )
    theirs.close()
    return ours, ours.makefile("r")


def started(
    command: Sequence[str], environment: Mapping[str, str], groups: Sequence[Path]
) -> Any:  # a process
    if command[0].startswith(OF_TORCH) and not groups:
        return Forked(command, {**os.environ, **environment})
    return PLAIN(command, environment, groups)


@pytest.fixture
def forked_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "started", started)
