"""`llmpi-device serve --release DIR`: a release behind llama-cpp-python's OpenAI-compatible server.

Meant for systemd, which holds the listening socket: a new process takes over the connections that
came while there was none. Needs the `serve` extra.
"""

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmpi.device.machine import capacity
from llmpi.device.service import gate, releases
from llmpi.device.service.records import ServiceSettings
from llmpi.engine.help_text import described
from llmpi.engine.params import KV_TYPES
from llmpi.engine.shown import shown

if TYPE_CHECKING:
    from llama_cpp.server.settings import ModelSettings

log = logging.getLogger(__name__)

FIRST_FD = 3  # SD_LISTEN_FDS_START (sd_listen_fds(3))
BACKLOG = 512
BYTES_PER_TOKEN = 64
"""No vocabulary of today needs more bytes of JSON for a token, but for long runs of spaces."""
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
    _from_its_own_code(release, settings)
    app = make_app(release, settings, _key())
    asyncio.run(_serve(app, settings))
    return 0


def make_app(release: Path, settings: ServiceSettings, key: str | None) -> gate.App:
    """The whole application, the model loaded."""
    from llama_cpp.server import app as server
    from llama_cpp.server.settings import ServerSettings

    from llmpi.device.service.abort import Abort
    from llmpi.device.service.chat import Chat
    from llmpi.device.service.request_check import Checker, keep_prompts_out_of_logs
    from llmpi.device.service.request_metrics import instrument

    keep_prompts_out_of_logs()
    model = model_settings(releases.model_of(release), settings)
    # Its own check of the key would compare byte by byte; ours is in front of everything.
    app: gate.App = server.create_app(
        server_settings=ServerSettings(interrupt_requests=False), model_settings=[model]
    )
    llama = server._llama_proxy()
    llama.model_path = model.model_alias  # what answers call the model; it is loaded
    chat = Chat(llama, settings["thinking_tokens"])
    chat.answers()
    labels = {"model": settings["model"], "quant": settings["quant"]}
    app = gate.Queue(
        app,
        waiting=settings["waiting"],
        body_bytes=BYTES_PER_TOKEN * settings["context_tokens"],
        answer_s=settings["answer_s"],
        check=Checker(llama, chat, settings["context_tokens"]),
        stop=Abort(llama.ctx),
    )
    # Outermost: who is refused is counted, too. It asks for the key itself.
    app = instrument(gate.KeyGate(app, key), **labels, release=release.name, key=key)
    return gate.AccessLog(app)


def model_settings(gguf: Path, settings: ServiceSettings) -> "ModelSettings":
    """What the variant was measured with, in the server's words."""
    from llama_cpp.server.settings import ModelSettings

    runtime = settings["runtime"]
    threads = runtime["threads"] or capacity.processors()
    return ModelSettings(
        model=str(gguf),
        model_alias=f"{settings['model']}/{settings['quant']}",
        n_ctx=settings["context_tokens"],
        n_batch=runtime["batch_tokens"],
        n_ubatch=runtime["ubatch_tokens"],
        n_threads=threads,
        n_threads_batch=threads,
        use_mmap=runtime["mmap"],
        use_mlock=runtime["mlock"],
        # llama.cpp's "auto" is on for a processor; the server knows on and off only.
        flash_attn=runtime["flash_attention"] != "off",
        type_k=KV_TYPES[runtime["kv_cache"]],
        type_v=KV_TYPES[runtime["kv_cache"]],
        # For every token of the context a row as wide as the vocabulary: only logprobs need it.
        logits_all=False,
        verbose=False,
    )


def _from_its_own_code(release: Path, settings: ServiceSettings) -> None:
    """Start again by the release's own path, which does not move when `current` is switched.

    A process that is still answering while the link moves would load late modules of another
    release. OpenMP reads its setting only when a process starts.
    """
    python = (release / releases.RUNTIME).resolve() / "bin/python"
    if not python.exists() or os.environ.get("LLMPI_RELEASE") == str(release):
        return
    policy = settings["runtime"]["omp_wait_policy"]
    environment = {**os.environ, "LLMPI_RELEASE": str(release)}
    environment |= {"OMP_WAIT_POLICY": policy.upper()} if policy else {}
    again = [str(python), "-m", "llmpi.device.cli", "serve", "--release", str(release)]
    os.execve(python, again, environment)


def _key() -> str | None:
    """The API key that systemd hands over (LoadCredential=); None where it hands over none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / "key" if folder else None
    if path is None or not path.exists():
        return None
    key = path.read_text(encoding="utf-8").strip()
    if not key:
        raise SystemExit("llmpi-device serve: the key is empty; nobody could be let in")
    return key


async def _serve(app: gate.App, settings: ServiceSettings) -> None:
    import uvicorn

    from llmpi.device.service.connections import Connection

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

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=Connection,
        lifespan="off",
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings["drain_s"],
        # A client that used a connection again just when it is closed would lose its request.
        headers=[("connection", "close")],
    )
    await Server(config).serve(sockets=[listener(settings)])


def listener(settings: ServiceSettings) -> socket.socket:
    """The socket that systemd holds for us; without systemd a new one, on loopback only."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS"):
        found = socket.socket(fileno=FIRST_FD)
    else:
        found = socket.create_server(("127.0.0.1", settings["port"]), backlog=BACKLOG)
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
