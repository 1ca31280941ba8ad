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
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httptools

from llmpi.device.machine import capacity
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

Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Json = Any  # requests and answers of llama-server (its README.md)


class EngineError(Exception):
    """The engine does not serve; the message is for a person."""


class EngineRefusedError(Exception):
    """It does not take a request: its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


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
                link = await asyncio.open_unix_connection(self._socket)
                async with aclosing(_said(link, "GET", "/health")) as said:
                    async for _ in said:
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

    async def complete(self, asked: Mapping[str, Json]) -> AsyncGenerator[Json, None]:
        """What it says of a request to `/completion`, piece by piece; who closes this has the slot
        given back.

        Raises:
            EngineRefusedError: it does not take the request.
            OSError: it died.
        """
        link = await self._link()
        body = json.dumps({**asked, "stream": True}).encode()
        if not self._asked:
            self._spoke = time.monotonic()
        self._asked += 1
        try:
            async with aclosing(_said(link, "POST", "/completion", body)) as said:
                async for line in said:
                    if not line.startswith(b"data: "):
                        continue
                    self._spoke = time.monotonic()
                    piece = json.loads(line.removeprefix(b"data: "))
                    if "error" in piece:
                        raise EngineRefusedError(piece["error"].get("code", 500))
                    yield piece
                    if piece["stop"]:
                        return
        finally:
            self._asked -= 1
        raise ConnectionResetError("the engine ended in the middle of an answer")

    async def _link(self) -> Link:
        """A connection to it; of one that died, to the next."""
        while True:
            await self.wait()
            try:
                return await asyncio.open_unix_connection(self._socket)
            except (ConnectionRefusedError, FileNotFoundError):
                await asyncio.sleep(LOOK_S)


async def _said(
    link: Link, method: str, path: str, body: bytes = b""
) -> AsyncGenerator[bytes, None]:
    """The lines of its answer."""
    reader, writer = link
    answer = _Answer()
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        held = b""
        while not answer.over and (data := await reader.read(PIECE_BYTES)):
            answer.parser.feed_data(data)
            if answer.status != 200:
                raise EngineRefusedError(answer.status)
            *lines, held = (held + b"".join(answer.parts)).split(b"\n")
            answer.parts.clear()
            for line in lines:
                yield line
        if not answer.over:
            raise ConnectionResetError("the engine ended in the middle of an answer")
        yield held
    except httptools.HttpParserError as error:
        raise ConnectionResetError(str(error)) from None
    finally:
        writer.close()


class _Answer:
    """What was heard of it: `httptools.HttpResponseParser` calls this."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.on_body = self.parts.append
        self.status, self.over = 200, False
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_message_complete(self) -> None:
        self.over = True


def _how(returncode: int | None) -> str:
    """How a process ended, in words."""
    if returncode == -signal.SIGKILL:
        return "was killed (SIGKILL), most likely for want of memory,"
    if returncode is not None and returncode < 0:
        return f"died of {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"
