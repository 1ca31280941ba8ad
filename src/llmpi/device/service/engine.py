"""llama.cpp's own server as a child, with the settings that the variant was measured with.

It listens on a Unix socket in a folder that only this user can enter, computes side by side as many
requests as it has slots, and keeps their prefixes. One that dies is started again.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmpi.device.machine import capacity
from llmpi.device.service.heard import EngineRefusedError, Heard
from llmpi.device.service.records import CHECKPOINTS, ServiceSettings
from llmpi.engine.shown import shown
from llmpi.engine.supervise import die_with_parent

log = logging.getLogger(__name__)

PROGRAM = "bin/llama-server"
"""In a release's runtime."""
LOOK_S = 0.1
HANGS_S = 1.0
"""Whoever says nothing for less does not hang, however little time answers have."""
PIECE_BYTES = 1 << 16
READER = json.JSONDecoder()

Json = Any  # requests and answers of llama-server (its README.md)


class EngineError(Exception):
    """The engine does not serve; the message is for a person."""


def command(program: Path, gguf: Path, settings: ServiceSettings, socket: Path) -> list[str]:
    """How it is started; what is not said is llama.cpp's default, as it is in a measurement."""
    runtime = settings["runtime"]
    threads = str(runtime["threads"] or capacity.processors())
    modes = [name for name in ("mmap", "mlock") if runtime[name]]
    return [
        *(str(program), "--host", str(socket), "--model", str(gguf), "--offline", "--no-ui"),
        *("--parallel", str(settings["slots"]), "--no-kv-unified", "--no-slots", "--fit", "off"),
        *("--ctx-size", str(settings["slots"] * settings["context_tokens"])),
        *("--threads", threads, "--threads-batch", threads),
        *("--threads-http", str(settings["slots"] + 2)),
        *("--batch-size", str(runtime["batch_tokens"])),
        *("--ubatch-size", str(runtime["ubatch_tokens"])),
        *("--cache-type-k", runtime["kv_cache"], "--cache-type-v", runtime["kv_cache"]),
        *("--flash-attn", runtime["flash_attention"], "--lazy-mode", runtime["lazy"]),
        *("--load-mode", "+".join(modes) or "none"),
        *(() if runtime["repack"] else ("--no-repack",)),
        *("--cache-ram", str(settings["prefix_cache_bytes"] >> 20)),
        *("--ctx-checkpoints", str(CHECKPOINTS)),
        # The prompts are rendered here: a template that its own engine cannot read hinders nobody.
        *("--no-jinja", "--chat-template", "chatml"),
        *("--log-verbosity", "1", "--log-colors", "off"),
    ]


class Engine:
    """
    Args:
        program: llama-server.
        gguf: the model.
    """

    def __init__(self, program: Path, gguf: Path, settings: ServiceSettings) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="llmpi-")  # gone with this object
        self._socket = Path(self._folder.name) / "engine.sock"
        self._command = command(program, gguf, settings, self._socket)
        policy = settings["runtime"]["omp_wait_policy"]
        self._environment = {
            **os.environ,
            **({"OMP_WAIT_POLICY": policy.upper()} if policy else {}),
        }
        self._ready = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._asked, self._spoke = 0, 0.0

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    async def run(self) -> None:
        """Have it run, again and again, until this is cancelled.

        Raises:
            EngineError: it cannot be started, or ended before its model was loaded.
        """
        while True:
            self._socket.unlink(missing_ok=True)
            try:
                child = self._child = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=self._environment,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    preexec_fn=die_with_parent(),
                )
            except OSError as error:
                reason = f"{self._command[0]} cannot be started: {error.strerror}"
                raise EngineError(f"{reason}; install the service again") from None
            try:
                hearing = asyncio.ensure_future(self._hear(child.stderr))
                loading = asyncio.ensure_future(self._loaded())
                ended = asyncio.ensure_future(child.wait())
                await asyncio.wait({loading, ended}, return_when=asyncio.FIRST_COMPLETED)
                loading.cancel()
                await ended
                await hearing
            finally:
                was_ready = self.ready
                self._ready.clear()
                if child.returncode is None:
                    child.kill()
                    await child.wait()
            if not was_ready:
                raise EngineError(f"the engine {_how(child.returncode)} before it was ready")
            log.error("the engine %s; it is started again", _how(child.returncode))

    async def _hear(self, said: asyncio.StreamReader | None) -> None:
        """What it says until it is ready: behind that it may be what a client asked."""
        assert said
        while piece := await said.read(PIECE_BYTES):
            if not self.ready:
                sys.stderr.write(shown(piece.decode("utf-8", "replace")))

    async def _loaded(self) -> None:
        while not self.ready:
            try:
                await self._ask("GET", "/health", lambda _: True)
                self._ready.set()
            except (OSError, EngineRefusedError):
                await asyncio.sleep(LOOK_S)

    async def wait(self) -> None:
        """Until its model is loaded."""
        await self._ready.wait()

    def end_if_silent(self, for_s: float) -> None:
        """One that was asked and said nothing to anybody for so long hangs."""
        silent_s = time.monotonic() - self._spoke
        if self._child and self.ready and silent_s >= max(for_s, HANGS_S):
            log.error("the engine says nothing for %.0f s; it is ended", silent_s)
            self._child.kill()

    async def complete(self, asked: Mapping[str, Json], heard: Callable[[Json], None]) -> None:
        """Have `heard` told each piece of what it says of a request to `/completion`, at once; who
        cancels this has the slot given back.

        Raises:
            EngineRefusedError: it does not take the request.
            OSError: it died.
        """

        def line(said: bytes) -> bool:
            if not said.startswith(b"data: "):
                return False
            self._spoke = time.monotonic()
            piece, _ = READER.raw_decode(said.decode(), len(b"data: "))  # of each token: in place
            if "error" in piece:
                raise EngineRefusedError(piece["error"].get("code", 500))
            heard(piece)
            return bool(piece["stop"])

        body = json.dumps({**asked, "stream": True}).encode()
        if not self._asked:
            self._spoke = time.monotonic()
        self._asked += 1
        try:
            while True:
                await self.wait()
                try:
                    return await self._ask("POST", "/completion", line, body)
                except (ConnectionRefusedError, FileNotFoundError):  # it died: the next is asked
                    await asyncio.sleep(LOOK_S)
        finally:
            self._asked -= 1

    async def _ask(
        self, method: str, path: str, line: Callable[[bytes], bool], body: bytes = b""
    ) -> None:
        """See `Heard`."""
        loop = asyncio.get_running_loop()
        link, heard = await loop.create_unix_connection(lambda: Heard(line), str(self._socket))
        try:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            link.write(head.encode() + body)
            await heard.ended
        finally:
            link.abort()


def _how(returncode: int | None) -> str:
    """How a process ended, in words."""
    if returncode == -signal.SIGKILL:
        return "was killed (SIGKILL), most likely for want of memory,"
    if returncode is not None and returncode < 0:
        return f"died of {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"
