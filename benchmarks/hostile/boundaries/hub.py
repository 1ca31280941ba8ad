"""A hub, or a mirror of one, that says anything: headers, listings, sizes, bodies, model cards."""

import contextlib
import hashlib
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from benchmarks.hostile import spoiled

WEIGHTS = b"GGUF" + bytes(500)
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
COMMIT = "c" * 40
HEADERS = ("ETag", "X-Linked-ETag", "X-Repo-Commit", "X-Linked-Size", "Content-Length", "Location",
           "X-Xet-Hash", "Link", "Content-Encoding", "Content-Type", "X-Error-Code")  # fmt: skip
NAMES = ("m.gguf", "config.json", "tokenizer.json", "model.safetensors",
         "model.safetensors.index.json", "README.md")  # fmt: skip
CARDS = (b"---\nlicense: mit\n---\n", b"---\na: b: c\n---", b"---\nlicense: *x\n---\n", b"\xff\xfe",
         b"---\na: &a [*a]\n---\n", b"---\nlicense: !!python/name:os.system x\n---\n")  # fmt: skip


class Given(NamedTuple):
    number: int
    """Of the repository; each has its own place in the cache."""
    file: str | None
    headers: dict[str, dict[str, str]]
    """By the name of a file: what is said in place of the truth."""
    listing: bytes | None
    resolved: bytes | None
    bodies: dict[str, bytes]


def inputs(draw: random.Random) -> Iterator[Given]:
    number = 0
    while True:
        number += 1
        yield Given(
            number,
            draw.choice(("m.gguf", None)),
            {
                draw.choice(NAMES): {
                    draw.choice(HEADERS): _header(draw) for _ in range(draw.randint(1, 2))
                }
                for _ in range(draw.randint(0, 2))
            },
            spoiled.dumped(draw, spoiled.data(draw, _tree())) if draw.random() < 0.5 else None,
            spoiled.dumped(draw, spoiled.data(draw, _info())) if draw.random() < 0.2 else None,
            {draw.choice(NAMES): _body(draw) for _ in range(draw.randint(0, 2))},
        )


def _header(draw: random.Random) -> str:
    said = f'"{spoiled.text(draw)[:2000]}"' if draw.random() < 0.5 else spoiled.text(draw)[:2000]
    if draw.random() < 0.2:
        said = str(draw.choice(spoiled.NUMBERS))[:400]
    return "".join(letter for letter in said if letter.isprintable()).encode().decode("latin-1")


def _body(draw: random.Random) -> bytes:
    if draw.random() < 0.3:
        return draw.choice(CARDS)
    return spoiled.bytes_(draw, WEIGHTS)


def _files() -> dict[str, bytes]:
    index = {"weight_map": {"a": "model.safetensors"}}
    return {
        "m.gguf": WEIGHTS,
        "config.json": b"{}",
        "tokenizer.json": b"[]",
        "model.safetensors": WEIGHTS,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "README.md": CARDS[0],
    }


def _tree() -> list[dict[str, Any]]:
    lfs = {"oid": DIGEST, "size": len(WEIGHTS), "pointerSize": 134}
    return [
        {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
        | ({"lfs": lfs} if content == WEIGHTS else {})
        for name, content in _files().items()
    ]


def _info() -> dict[str, Any]:
    return {"id": "acme/x", "sha": COMMIT, "private": False, "tags": [], "siblings": []}


class Liar(BaseHTTPRequestHandler):
    given: ClassVar[Given]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/revision/" in path:
            self._say(self.given.resolved or json.dumps(_info()).encode(), {})
        elif "/tree/" in path:
            self._say(self.given.listing or json.dumps(_tree()).encode(), {})
        else:
            name = path.rpartition("/")[2]
            truth = _files().get(name, b"")
            digest = DIGEST if truth == WEIGHTS else hashlib.sha1(truth).hexdigest()
            headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT}
            self._say(
                self.given.bodies.get(name, truth), headers | self.given.headers.get(name, {})
            )

    def do_HEAD(self) -> None:
        self.do_GET()

    def _say(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, said in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, said)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Whoever was lied to hung up."""


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    server = Server(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"
    os.environ["HF_HOME"], os.environ["NO_PROXY"] = str(folder / "hf"), "*"
    # The hub's library reads its environment as it is loaded.
    from llmpi.errors import LlmpiError
    from llmpi.models.fetch import fetch
    from llmpi.study.models import HubSource

    def receive(given: Given) -> None:
        Liar.given = given
        source = HubSource(hub=f"acme/r{given.number}", file=given.file)
        model = folder / f"models/{given.number}"
        try:
            fetched = fetch(source, model, folder / "sources.lock.yaml", ["llmpi.models.hub"])
        except LlmpiError:
            left = [path.name for path in model.iterdir()] if model.is_dir() else []
            assert not any(name.endswith(".gguf") for name in left), left
            raise
        for name in fetched["files"]:
            assert (model / name).is_file()

    try:
        yield receive
    finally:
        with contextlib.suppress(OSError):
            server.shutdown()
