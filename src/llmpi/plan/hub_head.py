"""The header of a GGUF file at the hub, fetched by range: some megabytes of many gigabytes."""

import struct
from functools import cache
from pathlib import PurePosixPath

from huggingface_hub.utils import build_hf_headers, http_stream_backoff  # type: ignore[attr-defined]

from llmpi.engine.shards import names
from llmpi.errors import LlmpiError
from llmpi.models.hub_download import HubFile
from llmpi.plan.model import Head

LARGEST_BYTES = 64 << 20
"""Of a header; one with a vocabulary of 262,144 tokens has 16 MB."""
PIECE_BYTES = 1 << 20


@cache
def head_of(repo: str, commit: str, file: str) -> Head:
    """The headers of a published GGUF file: of one in several parts, all of theirs.

    Raises:
        LlmpiError: it is no GGUF file.
    """
    parts = [HubFile(repo, commit, name) for name in names(file)]
    return Head(tuple((PurePosixPath(p.name).name, _header(p), p.size or 0) for p in parts))


def _header(file: HubFile) -> bytes:
    asked = {**build_hf_headers(), "Accept-Encoding": "identity"}
    asked["Range"] = f"bytes=0-{LARGEST_BYTES - 1}"
    data, wanted = b"", PIECE_BYTES
    with http_stream_backoff("GET", file.url, headers=asked) as response:
        response.raise_for_status()
        for piece in response.iter_bytes(PIECE_BYTES):
            data += piece
            if len(data) >= wanted:
                if (end := _end(file, data)) is not None:
                    return data[:end]
                wanted *= 2
            if len(data) > LARGEST_BYTES:
                break
    if (end := _end(file, data)) is None:
        raise LlmpiError(f"{file.repo}/{file.name}: its header has no end: it is no GGUF file")
    return data[:end]


def _end(file: HubFile, data: bytes) -> int | None:
    try:
        return header_end(data)
    except ValueError:
        raise LlmpiError(f"{file.repo}/{file.name} is no GGUF file") from None


# --- the format: ggml, docs/gguf.md ---------------------------------------------------------------

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by its type."""
STRING, ARRAY = 8, 9


class _ShortError(Exception):
    """More of the file is wanted."""


def header_end(data: bytes) -> int | None:
    """Where the header of a GGUF file ends that begins so; None if that lies beyond.

    Raises:
        ValueError: no GGUF file begins so.
    """
    if data[:4] != b"GGUF"[: len(data)]:
        raise ValueError("the first bytes are not GGUF")
    try:
        _, tensors, fields = _numbers(data, 4, "<IQQ")
        at = 24
        for _ in range(fields):
            at = _string_end(data, at)
            (kind,) = _numbers(data, at, "<I")
            at = _value_end(data, at + 4, kind)
        for _ in range(tensors):
            at = _string_end(data, at)
            (sides,) = _numbers(data, at, "<I")
            at += 4 + 8 * sides + 4 + 8
        return at if at <= len(data) else None
    except _ShortError:
        return None


def _numbers(data: bytes, at: int, form: str) -> tuple[int, ...]:
    if at + struct.calcsize(form) > len(data):
        raise _ShortError
    return struct.unpack_from(form, data, at)


def _string_end(data: bytes, at: int) -> int:
    (length,) = _numbers(data, at, "<Q")
    return at + 8 + length


def _value_end(data: bytes, at: int, kind: int) -> int:
    if kind == STRING:
        return _string_end(data, at)
    if kind != ARRAY:
        return at + _size(kind)
    kind, count = _numbers(data, at, "<IQ")
    at += 12
    if kind != STRING:
        return at + count * _size(kind)
    for _ in range(count):
        at = _string_end(data, at)
    return at


def _size(kind: int) -> int:
    if kind not in SCALARS:
        raise ValueError(f"a GGUF file has no values of type {kind}")
    return SCALARS[kind]
