"""Records that lie in `results/`: of an older run, of somebody else's, half written."""

import contextlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hostile import spoiled
from llmpi.engine.records import Failed
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.models.records import ModelRecord
from llmpi.records import read
from llmpi.sources_lock import read_lock

SOUND: dict[str, object] = {
    "status": "ok",
    "source": {
        "hub": "acme/tiny",
        "revision": "main",
        "file": None,
        "files": None,
        "checkpoint": None,
        "sha256": None,
    },
    "origin": {"kind": "hub", "hub": "acme/tiny", "revision": "0" * 40, "requested": "main"},
    "checkpoint": None,
    "licence": "mit",
    "format": "gguf",
    "files": {"m.gguf": {"sha256": "0" * 64, "bytes": 5}},
    "fetched": "2026-01-01T00:00:00+00:00",
    "ggufs": [],
}


def inputs(draw: random.Random) -> Iterator[bytes]:
    while True:
        yield spoiled.dumped(draw, spoiled.data(draw, SOUND))


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[bytes], None]]:
    def receive(content: bytes) -> None:
        path = folder / "record.json"
        path.write_bytes(content)
        with contextlib.suppress(LlmpiError):
            read_lock(path)
        with contextlib.suppress(LlmpiError):
            read(path, Gguf | Failed)
        read(path, ModelRecord)

    yield receive
