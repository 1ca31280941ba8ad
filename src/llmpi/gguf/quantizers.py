"""ggml's own quantizers: from float32 to the bytes of a type, and back.

Rows of a matrix are quantized independently of one another, so they are done on several threads.
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llmpi.device.machine import capacity
from llmpi.gguf import ggml

if TYPE_CHECKING:
    import numpy as np

    Rows = np.ndarray
    """float32 [rows, columns], or uint8 [rows, bytes]."""

most: int | None = None
"""Threads, as the job of this process was given them; by default one for each core."""

TYPE_COUNT = 43
"""GGML_TYPE_COUNT (ggml.h) of the pinned engine."""


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


def quantized(weights: "Rows", kind: str, importance: "Rows | None" = None) -> "Rows":
    """`weights` as ggml quantizes them: uint8 [rows, bytes].

    Args:
        weights: float32 [rows, columns]; the type's block divides the columns.
        kind: as ggml spells it, in capitals: `Q4_0`, `Q6_K`, ...
        importance: float32 [columns], their second moments of an importance matrix. IQ2_XXS,
            IQ2_XS and IQ1_S abort without.
    """
    import numpy as np

    base, found = _library(), kinds()[kind]
    weights = np.ascontiguousarray(weights, np.float32)
    rows, columns = weights.shape
    out = np.empty((rows, found.row_bytes(columns)), np.uint8)
    moments = None if importance is None else np.ascontiguousarray(importance, np.float32)

    def part(begin: int, end: int) -> None:
        base.ggml_quantize_chunk(
            found.id,
            weights[begin:end].ctypes.data,
            out[begin:end].ctypes.data,
            0,
            end - begin,
            columns,
            None if moments is None else moments.ctypes.data,
        )

    _on_threads(part, rows)
    return out


def dequantized(data: "Rows", kind: str, columns: int) -> "Rows":
    """The float32 [rows, columns] that uint8 [rows, bytes] of a type stand for."""
    import numpy as np

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
    threads = min(most or capacity.processors(), rows)
    edges = [rows * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # ctypes lets go of the interpreter's lock
        list(pool.map(part, edges[:-1], edges[1:]))


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
    index, pointer = ctypes.c_int64, ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "ggml_get_type_traits": (ctypes.POINTER(_Traits), [ctypes.c_int]),
        "ggml_quantize_chunk": (
            ctypes.c_size_t,
            [ctypes.c_int, pointer, pointer, index, index, index, pointer],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    return base
