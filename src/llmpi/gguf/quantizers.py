"""ggml's own quantizers, and the tensors of any GGUF file as the bytes they are.

Rows of a matrix are quantized independently of one another, so they are done on several threads.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmpi.gguf import ggml

TYPE_COUNT = 43
"""GGML_TYPE_COUNT (ggml.h) of the pinned engine."""
Rows = np.ndarray
"""float32 [rows, columns], or uint8 [rows, bytes]."""


class _Traits(ctypes.Structure):
    """`struct ggml_type_traits` (ggml.h), as far as `to_float`."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


class Kind(NamedTuple):
    """A tensor type of ggml."""

    id: int
    block: int
    """Elements of a block."""
    block_bytes: int
    to_float: Any

    def row_bytes(self, columns: int) -> int:
        return columns // self.block * self.block_bytes


class Stored(NamedTuple):
    """A tensor as a file holds it."""

    kind: str
    shape: tuple[int, ...]
    """As numpy says it: ggml's widest dimension last."""
    data: np.ndarray
    """Its bytes, mapped."""


def quantized(weights: Rows, kind: str) -> Rows:
    """`weights` as ggml quantizes them without an importance matrix: uint8 [rows, bytes].

    Args:
        weights: float32 [rows, columns]; the type's block divides the columns.
        kind: as ggml spells it, in capitals: `Q4_0`, `Q6_K`, ...
    """
    base, found = _library(), kinds()[kind]
    weights = np.ascontiguousarray(weights, np.float32)
    rows, columns = weights.shape
    out = np.empty((rows, found.row_bytes(columns)), np.uint8)

    def part(begin: int, end: int) -> None:
        base.ggml_quantize_chunk(
            found.id,
            weights[begin:end].ctypes.data,
            out[begin:end].ctypes.data,
            0,
            end - begin,
            columns,
            None,
        )

    _on_threads(part, rows)
    return out


def dequantized(data: Rows, kind: str, columns: int) -> Rows:
    """The float32 [rows, columns] that uint8 [rows, bytes] of a type stand for."""
    found = kinds()[kind]
    out = np.empty((len(data), columns), np.float32)

    def part(begin: int, end: int) -> None:
        count = (end - begin) * columns
        if found.to_float:
            found.to_float(data[begin:end].ctypes.data, out[begin:end].ctypes.data, count)
        else:  # F32, as it stands
            out[begin:end] = data[begin:end].view(np.float32)

    data = np.ascontiguousarray(data)
    _on_threads(part, len(data))
    return out


def _on_threads(part: Callable[[int, int], None], rows: int) -> None:
    threads = min(len(os.sched_getaffinity(0)), rows)
    edges = [rows * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # ctypes lets go of the interpreter's lock
        list(pool.map(part, edges[:-1], edges[1:]))


def stored(path: Path) -> dict[str, Stored]:
    """The tensors of a sound GGUF file, by name, in the file's order."""
    data = np.memmap(path, np.uint8, "r")
    with header(path) as handle:
        return dict(_tensors(handle, data))


def _tensors(handle: int, data: np.ndarray) -> Iterator[tuple[str, Stored]]:
    base = _library()
    names = {kind.id: name for name, kind in kinds().items()}
    start = base.gguf_get_data_offset(handle)
    for i in range(base.gguf_get_n_tensors(handle)):
        begin = start + base.gguf_get_tensor_offset(handle, i)
        end = begin + base.gguf_get_tensor_size(handle, i)
        shape = base.gguf_get_tensor_ne(handle, i)[:4][::-1]
        while len(shape) > 1 and shape[0] == 1:
            del shape[0]
        kind = names[base.gguf_get_tensor_type(handle, i)]
        yield (
            base.gguf_get_tensor_name(handle, i).decode(),
            Stored(kind, tuple(shape), data[begin:end]),
        )


@contextmanager
def header(path: Path) -> Iterator[int]:
    """The header of a sound GGUF file, for the functions of gguf.h, while the block lasts.

    Raises:
        ValueError: it is no GGUF file.
    """
    base = _library()
    handle = base.gguf_init_from_file(os.fsencode(path), ggml.GgufParams(True, None))
    if not handle:
        raise ValueError(f"{path}: this is no sound GGUF file")
    try:
        yield handle
    finally:
        base.gguf_free(handle)


# gguf_type (gguf.h) -> the function that reads a value, and what it returns.
_SCALARS: dict[int, tuple[str, Any]] = {
    0: ("u8", ctypes.c_uint8),
    1: ("i8", ctypes.c_int8),
    2: ("u16", ctypes.c_uint16),
    3: ("i16", ctypes.c_int16),
    4: ("u32", ctypes.c_uint32),
    5: ("i32", ctypes.c_int32),
    6: ("f32", ctypes.c_float),
    7: ("bool", ctypes.c_bool),
    8: ("str", ctypes.c_char_p),
    10: ("u64", ctypes.c_uint64),
    11: ("i64", ctypes.c_int64),
    12: ("f64", ctypes.c_double),
}
_STRING, _ARRAY = 8, 9


def metadata(handle: int) -> dict[str, Any]:
    """The fields of a GGUF header: numbers, texts, and lists of either."""
    base = _library()
    found: dict[str, Any] = {}
    for i in range(base.gguf_get_n_kv(handle)):
        name, kind = base.gguf_get_key(handle, i).decode(), base.gguf_get_kv_type(handle, i)
        if kind != _ARRAY:
            value = getattr(base, f"gguf_get_val_{_SCALARS[kind][0]}")(handle, i)
            found[name] = value.decode("utf-8", "replace") if kind == _STRING else value
            continue
        count, of = base.gguf_get_arr_n(handle, i), base.gguf_get_arr_type(handle, i)
        if of == _STRING:
            texts = (base.gguf_get_arr_str(handle, i, j) for j in range(count))
            found[name] = [text.decode("utf-8", "replace") for text in texts]
        elif of in _SCALARS and count:
            numbers = ctypes.cast(
                base.gguf_get_arr_data(handle, i), ctypes.POINTER(_SCALARS[of][1])
            )
            found[name] = numbers[:count]
        else:
            found[name] = []
    return found


@cache
def kinds() -> dict[str, Kind]:
    """The types of the installed ggml, by name."""
    base = _library()
    found = {}
    for i in range(TYPE_COUNT):
        traits = base.ggml_get_type_traits(i).contents
        if traits.blck_size:  # 0: a type that was given up
            found[traits.type_name.decode().upper()] = Kind(
                i, traits.blck_size, traits.type_size, traits.to_float
            )
    return found


@cache
def _library() -> Any:
    """`ggml.base` with the functions that are used here."""
    base = ggml.base()
    handle, index, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "ggml_get_type_traits": (ctypes.POINTER(_Traits), [ctypes.c_int]),
        "ggml_quantize_chunk": (
            size,
            [ctypes.c_int, pointer, pointer, index, index, index, pointer],
        ),
        "gguf_get_n_kv": (index, [handle]),
        "gguf_get_key": (ctypes.c_char_p, [handle, index]),
        "gguf_get_kv_type": (ctypes.c_int, [handle, index]),
        "gguf_get_arr_type": (ctypes.c_int, [handle, index]),
        "gguf_get_arr_n": (size, [handle, index]),
        "gguf_get_arr_data": (pointer, [handle, index]),
        "gguf_get_arr_str": (ctypes.c_char_p, [handle, index, size]),
        "gguf_get_tensor_ne": (ctypes.POINTER(index), [handle, index]),
        **{
            f"gguf_get_val_{name}": (result, [handle, index]) for name, result in _SCALARS.values()
        },
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    return base
