"""GGUF files: their header, and what a plan takes from it."""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.hostile import spoiled
from llmpi.errors import LlmpiError
from llmpi.gguf.inspect import inspect
from llmpi.plan.model import Model

PATIENCE_S = 120.0


def inputs(draw: random.Random) -> Iterator[bytes]:
    while True:
        made = gguf(draw)
        yield spoiled.bytes_(draw, made) if draw.random() < 0.3 else made


def gguf(draw: random.Random) -> bytes:
    """A file of a few fields and tensors, of sizes as they may come."""
    fields = {"general.architecture": _text(_or(draw, "llama", ("mamba", spoiled.text(draw))))}
    for key in ("block_count", "embedding_length", "attention.head_count"):
        if draw.random() < 0.9:
            fields[f"llama.{key}"] = struct.pack("<II", 4, _or(draw, 2, (0, 1, 2**31, 2**32 - 1)))
    if draw.random() < 0.3:
        fields["x"] = struct.pack("<IIQ", 9, draw.randrange(14), draw.choice((0, 3, 2**60)))
    names = draw.sample(("token_embd.weight", "blk.0.attn_q.weight", "output.weight", "x"), 3)
    tensors = b""
    for i, name in enumerate(names):
        sides = [
            _or(draw, 32, (0, 1, 3, 64, 2**31, 2**62)) for _ in range(_or(draw, 2, (0, 1, 4, 5)))
        ]
        kind, offset = _or(draw, 0, (1, 2, 8, 99)), _or(draw, 4096 * i, (1, 2**40, 2**63))
        tensors += _string(name) + struct.pack("<I", len(sides))
        tensors += struct.pack(f"<{len(sides)}Q", *sides) + struct.pack("<IQ", kind, offset)
    head = b"GGUF" + struct.pack("<IQQ", _or(draw, 3, (2, 99)), len(names), len(fields))
    head += b"".join(_string(key) + value for key, value in fields.items()) + tensors
    return head + bytes(-len(head) % 32) + bytes(16_384)


def _or(draw: random.Random, sound: Any, others: Sequence[Any]) -> Any:
    """Mostly what is sound."""
    return draw.choice(others) if draw.random() < 0.08 else sound


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded


def _text(text: str) -> bytes:
    return struct.pack("<I", 8) + _string(text)


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[bytes], None]]:
    def receive(content: bytes) -> None:
        path = folder / "x.gguf"
        path.write_bytes(content)
        with suppress(LlmpiError):
            Model(path, path.name).sizes("Q4_0")
        assert inspect(path)["parameters"] > 0

    yield receive
