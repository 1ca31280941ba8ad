"""`llmpi-device serve --release DIR`: a release behind an OpenAI-compatible API.

Meant for systemd, which holds the listening socket: a new process takes over the connections that
came while there was none. Needs the `serve` extra.
"""

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from llmpi.device.service import releases
from llmpi.device.service.keys import FORM, Keys, parse
from llmpi.device.service.records import ServiceSettings
from llmpi.engine.help_text import described
from llmpi.engine.shown import shown

FIRST_FD = 3  # SD_LISTEN_FDS_START (sd_listen_fds(3))
BACKLOG = 512
GRACE_S = 0.5
"""Who was let in just before the end has so long to send what it asks."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="llmpi-device serve",
        **described(
            "Serve a release over HTTP, until told to stop.\n"
            "Meant for systemd, which holds the socket: who connects meanwhile waits.",
            "llmpi-device serve --release /home/pi/.llmpi/service/current",
        ),
    )
    parser.add_argument("--release", required=True, type=Path, help="folder of a release")
    release = parser.parse_args(argv).release.resolve()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        settings = releases.check(release)
    except releases.ReleaseError as error:
        print(shown(f"llmpi-device serve: {error}"), file=sys.stderr)
        return 1
    _from_its_own_code(release)
    import uvloop

    from llmpi.device.service.engine import EngineError

    try:
        uvloop.run(_serve(release, settings, _keys()))
    except EngineError as error:
        print(shown(f"llmpi-device serve: {error}"), file=sys.stderr)
        return 1
    return 0


def _from_its_own_code(release: Path) -> None:
    """Start again by the release's own path, which does not move when `current` is switched.

    A process that is still answering while the link moves would load late modules of another
    release.
    """
    python = (release / releases.RUNTIME).resolve() / "bin/python"
    if not python.exists() or os.environ.get("LLMPI_RELEASE") == str(release):
        return
    environment = {**os.environ, "LLMPI_RELEASE": str(release)}
    again = [str(python), "-m", "llmpi.device.cli", "serve", "--release", str(release)]
    os.execve(python, again, environment)


def _keys() -> Keys:
    """The API keys that systemd hands over (LoadCredential=), all or the first alone; none where it
    hands over none."""
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", os.devnull))
    path = next((path for name in ("keys", "key") if (path := folder / name).exists()), None)
    if path is None:
        return Keys()
    try:
        return Keys(parse(path.read_text(encoding="utf-8")))
    except ValueError:
        raise SystemExit(
            f"llmpi-device serve: the keys are none that could be asked by: {FORM}"
        ) from None


async def _serve(release: Path, settings: ServiceSettings, keys: Keys) -> None:
    import uvicorn

    from llmpi.device.service.chat import Chat
    from llmpi.device.service.connections import Connection
    from llmpi.device.service.engine import PROGRAM, Engine
    from llmpi.device.service.front import Front
    from llmpi.device.service.metrics import RequestMetrics
    from llmpi.device.service.requests import Reader
    from llmpi.engine.info import log_to
    from llmpi.engine.llama import Model, Settings

    class Server(uvicorn.Server):
        """Tells systemd how it is, and loses nobody who was let in before it stops."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            notify("READY=1")

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            notify("STOPPING=1")
            for server in self.servers:
                server.close()
            await asyncio.sleep(GRACE_S)
            await super().shutdown(sockets)
            running.cancel()  # here: behind this uvicorn ends the process by the signal it got
            await asyncio.wait({running})

    gguf = releases.model_of(release)
    engine = Engine((release / releases.RUNTIME).resolve() / PROGRAM, gguf, settings)
    running = asyncio.ensure_future(engine.run())
    log_to(lambda _: None)  # who loads the model itself says what there is to say
    model = await asyncio.to_thread(Model, gguf, Settings(threads=1), vocabulary_alone=True)
    reader = Reader(model, Chat(model, settings["thinking_tokens"]), settings["context_tokens"])
    labels = {"model": settings["model"], "quant": settings["quant"], "release": release.name}
    config = uvicorn.Config(
        Front(engine, reader, settings, RequestMetrics(**labels), keys),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=Connection,
        ws="none",
        lifespan="off",
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings["drain_s"],
        # A client that used a connection again just when it is closed would lose its request.
        headers=[("connection", "close")],
    )
    await _first(running, engine.wait())
    await _first(running, Server(config).serve(sockets=[listener(settings)]))


async def _first(running: asyncio.Future[None], other: Coroutine[Any, Any, None]) -> None:
    """Until the other is over.

    Raises:
        EngineError: the engine ended before.
    """
    ending = asyncio.ensure_future(other)
    await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
    if running.done() and not running.cancelled():
        ending.cancel()
        running.result()
    await ending


def listener(settings: ServiceSettings) -> socket.socket:
    """The socket that systemd holds for us; without systemd a new one, on loopback only."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS"):
        found = socket.socket(fileno=FIRST_FD)
    else:
        found = socket.create_server(("127.0.0.1", settings["port"]), backlog=BACKLOG)
    # Of every connection: who reads nothing for so long is dropped with what was not sent.
    patience_ms = max(1000, 1000 * settings["answer_s"])
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience_ms))
    found.setblocking(False)
    return found


def notify(state: str) -> None:
    """Tell systemd a state (sd_notify(3)); nothing where it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(state.encode())
