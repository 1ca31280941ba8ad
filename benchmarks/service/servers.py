"""The two that are compared, each as a process: the service as systemd starts it, and llama-server.

Both compute with the same program, file, threads, batches, slots and context.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.peer import tool
from benchmarks.service.release import released
from llmpi.device.service.records import ServiceSettings
from llmpi.engine.supervise import die_with_parent
from llmpi.remote import requests
from llmpi.study.measuring import Runtime

KEY = "0123456789abcdef-only-for-this-benchmark"
CONTEXT_TOKENS, WAITING = 512, 64
OPEN_FILES = 8192
"""As the service's unit has it."""
START_S = 300
BATCH_TOKENS = 512


class Asked(NamedTuple):
    """How a server is to serve."""

    gguf: Path
    slots: int
    threads: int


class Server:
    """A server that is there, or was.

    Args:
        command: how it is started; it is started again by `revive`.
    """

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        self._command, self.port, self._folder = command, port, folder
        self.log = folder / "log"
        self._start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self._command,
                env={**os.environ, "CREDENTIALS_DIRECTORY": str(self._folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_as_a_unit(),
            )
        until = time.monotonic() + START_S
        while not self.is_healthy(timeout_s=2):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"it does not serve:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)
        self._known = self._processes()

    def is_healthy(self, timeout_s: float) -> bool:
        """Whether it says so itself."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=timeout_s):
                return True
        except (OSError, ValueError):
            return False

    def died(self) -> int:
        """How many of its processes have ended since the last look; what is new is noted."""
        now = self._processes()
        gone = len(self._known - now)
        self._known = now
        return gone

    def _processes(self) -> set[tuple[int, str]]:
        """It and what it started, by id and time of their start; who has ended is not there."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                state, session, began = fields[0], int(fields[3]), fields[19]
                if session == self.process.pid and state not in "ZX":
                    found.add((int(stat.parent.name), began))
        return found

    def revive(self) -> None:
        """Have it there anew."""
        self.stop()
        self._start()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _as_a_unit() -> Callable[[], None]:
    """As systemd starts it, and gone with this process."""
    ends = die_with_parent()

    def in_child() -> None:
        ends()
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))

    return in_child


@contextmanager
def service(asked: Asked, folder: Path) -> Iterator[Server]:
    """A release of a file, served as on a device."""
    port = _free_port()
    release = released(asked.gguf, folder / "store", _settings(asked, port))
    with served(release, port, folder) as server:
        yield server


@contextmanager
def served(release: Path, port: int, folder: Path) -> Iterator[Server]:
    """A release whose settings have this port."""
    command = [sys.executable, "-m", "llmpi.device.cli", "serve", "--release", str(release)]
    with _running(command, port, folder) as server:
        yield server


@contextmanager
def bare(asked: Asked, folder: Path) -> Iterator[Server]:
    """llama-server by itself."""
    port, threads = _free_port(), str(asked.threads)
    (folder / "key").write_text(KEY)
    command = [
        *(str(tool("llama-server")), "--model", str(asked.gguf), "--port", str(port), "--offline"),
        *("--parallel", str(asked.slots), "--no-kv-unified", "--no-slots", "--fit", "off"),
        *("--ctx-size", str(asked.slots * CONTEXT_TOKENS), "--cache-ram", "0", "--no-ui"),
        *("--threads", threads, "--threads-batch", threads),
        *("--batch-size", str(BATCH_TOKENS), "--ubatch-size", str(BATCH_TOKENS)),
        *("--api-key-file", str(folder / "key"), "--log-verbosity", "1"),
    ]
    with _running(command, port, folder) as server:
        yield server


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[Server]:
    (folder / "key").write_text(KEY)
    server = Server(command, port, folder)
    try:
        yield server
    finally:
        server.stop()


def _settings(asked: Asked, port: int) -> ServiceSettings:
    runtime = Runtime(threads=asked.threads, batch_tokens=BATCH_TOKENS, ubatch_tokens=BATCH_TOKENS)
    return {
        "model": "benchmark",
        "quant": asked.gguf.stem,
        "port": port,
        "thinking_tokens": None,
        "context_tokens": CONTEXT_TOKENS,
        "slots": asked.slots,
        "prefix_cache_bytes": 0,
        "waiting": WAITING,
        "answer_s": 60,
        "drain_s": 10,
        "runtime": requests.runtime(runtime),
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
