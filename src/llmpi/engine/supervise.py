"""Run engine work in a child process, and turn the child's death into a reason.

The engine is C++ that may die of a signal or be killed for memory; a sweep must outlive that. The
child also dies with whoever asked for it: with this process, and, where `owner` is a pipe, when
that pipe closes, which is how a lost SSH connection shows on the device.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from llmpi.engine.records import Failed

PR_SET_PDEATHSIG = 1
NO_DEBUGGER = {"GGML_NO_BACKTRACE": "1"}
"""Where there is a gdb, a dying engine would have it look: seconds, and memory where none is."""
TAIL_CHARACTERS = 2000
INTERRUPT = b"\x03"  # what a command that hears Ctrl-C on its stdin is told


Written = TypeVar("Written")


class OwnerGoneError(Exception):
    """Whoever asked for the work is not there any more."""


@dataclass(frozen=True)
class Death:
    """How a child ended without a result."""

    reason: str
    tail: str
    """Last of what it wrote to stderr."""
    signal: int | None = None
    """That it died of, if it did; none where its time was up."""

    def failed(self, stage: str) -> Failed:
        """The record of a cell that cannot work."""
        return {"status": "failed", "stage": stage, "reason": self.reason, "log_tail": self.tail}


def supervise(
    module: str,
    job: Mapping[str, object],  # what each module takes is its own
    *,
    writes: type[Written],  # noqa: ARG001 - tells the type checker
    log: Callable[[str], None],
    timeout_s: float | None = None,
    owner: IO[str] | None = None,
    groups: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> Written | Death:
    """Run `python -m module JOB OUT` and return the record it wrote to OUT, or its death.

    Args:
        module: reads its job from one JSON file and writes its record to another.
        writes: the type of that record. The module is ours and keeps to it; nothing checks that.
        log: called with each line of the child's stderr.
        timeout_s: after which the child is killed.
        owner: a stream whose end means that the work is not wanted any more.
        groups: `cgroup.procs` files of control groups the child runs in.
        environment: variables the child has beside this process's own.

    Raises:
        OwnerGoneError: `owner` ended; the child was killed.
    """
    with tempfile.TemporaryDirectory(prefix="llmpi-") as folder:
        work, out = Path(folder) / "job.json", Path(folder) / "out.json"
        work.write_text(json.dumps(job))
        child = started([module, str(work), str(out)], environment or {}, groups)
        try:
            tail, timed_out = _follow(child, log, timeout_s, owner)
        finally:
            child.kill()
            child.wait()
        if child.returncode == 0 and out.is_file():
            record: Written = json.loads(out.read_text())
            return record
        if timed_out:
            return Death(f"no end after {timeout_s:g} s", tail)
        died_of = -child.returncode if child.returncode < 0 else None
        return Death(_why(child.returncode, tail), tail, died_of)


def started(
    command: Sequence[str], environment: Mapping[str, str], groups: Sequence[Path]
) -> subprocess.Popen[bytes]:
    """The child that runs a module with its arguments, see `supervise`."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **NO_DEBUGGER, **environment},
        preexec_fn=die_with_parent(groups),
    )


def _follow(
    child: subprocess.Popen[bytes],
    log: Callable[[str], None],
    timeout_s: float | None,
    owner: IO[str] | None,
) -> tuple[str, bool]:
    assert child.stderr is not None
    deadline = time.monotonic() + timeout_s if timeout_s else None
    stderr, watched = child.stderr.fileno(), [child.stderr.fileno()]
    if owner is not None:
        watched.append(owner.fileno())
    tail = pending = ""
    while True:
        left = max(0.0, deadline - time.monotonic()) if deadline else None
        ready, _, _ = select.select(watched, [], [], left)
        if not ready:
            return tail, True
        if owner is not None and owner.fileno() in ready:
            said = os.read(owner.fileno(), 1024)
            if not said or INTERRUPT in said:
                raise OwnerGoneError
        if stderr in ready:
            piece = os.read(stderr, 65536)
            if not piece:
                if pending:
                    log(pending)
                child.wait()
                return tail, False
            text = piece.decode("utf-8", "replace")
            tail = (tail + text)[-TAIL_CHARACTERS:]
            *lines, pending = (pending + text).split("\n")
            for line in lines:
                log(line)


def _why(returncode: int, tail: str) -> str:
    if returncode == -signal.SIGKILL:
        return "the engine was killed (SIGKILL): most likely out of memory"
    if returncode < 0:
        return f"the engine died of {signal.Signals(-returncode).name}"
    last = next((line for line in reversed(tail.splitlines()) if line.strip()), "no message")
    return f"the engine failed: {last.strip()}"


def die_with_parent(groups: Sequence[Path] = ()) -> Callable[[], None]:
    """For `preexec_fn`: the child is killed when this process ends, however it ends.

    Args:
        groups: `cgroup.procs` files of the control groups it enters.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None)  # before the fork: loading a library after it is not safe

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for group in groups:
            group.write_text("0")  # the kernel takes 0 for the writer itself

    return in_child
