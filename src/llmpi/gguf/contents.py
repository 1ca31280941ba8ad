"""What a sound GGUF file holds: its fields, and its tensors of any type as the bytes they are."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmpi.gguf import ggml
from llmpi.gguf.quantizers import kinds

if TYPE_CHECKING:
    import numpy as np

Value = bool | int | float | str | list[int] | list[float] | list[str]
Fields = dict[str, Value]
"""By name."""


class Stored(NamedTuple):
    """A tensor as a file holds it."""

    kind: str
    """Its type, in capitals."""
    shape: tuple[int, ...]
    """As numpy says it: ggml's widest dimension last."""
    data: "np.ndarray"
    """Its bytes, mapped."""


def names(handle: int) -> list[str]:
    """Of the tensors of a GGUF header."""
    base = _library()
    return [
        base.gguf_get_tensor_name(handle, i).decode("utf-8", "replace")
        for i in range(base.gguf_get_n_tensors(handle))
    ]


def stored(path: Path, *, edit: bool = False) -> dict[str, Stored]:
    """The tensors of a sound GGUF file, by name, in the file's order; to `edit`, their bytes are
    the file's."""
    import numpy as np

    data = np.memmap(path, np.uint8, "r+" if edit else "r")
    with header(path) as handle:
        return dict(_tensors(handle, data))


def _tensors(handle: int, data: "np.ndarray") -> Iterator[tuple[str, Stored]]:
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
_I32, _STRING, _ARRAY = 5, 8, 9


def fields(handle: int, beginnings: tuple[str, ...] = ("",)) -> Fields:
    """The fields of a GGUF header whose names begin so: a vocabulary is long."""
    base = _library()
    found: Fields = {}
    for i in range(base.gguf_get_n_kv(handle)):
        name = base.gguf_get_key(handle, i).decode("utf-8", "replace")
        kind = base.gguf_get_kv_type(handle, i)
        if not name.startswith(beginnings):
            continue
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


def set_fields(handle: int, wanted: Mapping[str, Value]) -> None:
    """Set fields of a GGUF header; whole numbers become u32, and i32 in lists.

    Args:
        wanted: texts, numbers, lists of texts or of whole numbers.
    """
    base = _library()
    for name, value in wanted.items():
        key = name.encode()
        if isinstance(value, str):
            base.gguf_set_val_str(handle, key, value.encode())
        elif isinstance(value, bool):
            base.gguf_set_val_bool(handle, key, value)
        elif isinstance(value, int):
            base.gguf_set_val_u32(handle, key, value)
        elif isinstance(value, float):
            base.gguf_set_val_f32(handle, key, value)
        elif value and isinstance(value[0], str):
            texts = (ctypes.c_char_p * len(value))(*(text.encode() for text in value))
            base.gguf_set_arr_str(handle, key, texts, len(value))
        else:
            numbers = (ctypes.c_int32 * len(value))(*map(int, value))
            base.gguf_set_arr_data(handle, key, _I32, numbers, len(value))


@cache
def _library() -> Any:
    """`ggml.base` with the functions that are used here."""
    base = ggml.base()
    handle, index, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "gguf_get_n_kv": (index, [handle]),
        "gguf_get_key": (text, [handle, index]),
        "gguf_get_kv_type": (ctypes.c_int, [handle, index]),
        "gguf_get_arr_type": (ctypes.c_int, [handle, index]),
        "gguf_get_arr_n": (size, [handle, index]),
        "gguf_get_arr_data": (pointer, [handle, index]),
        "gguf_get_arr_str": (text, [handle, index, size]),
        "gguf_get_tensor_ne": (ctypes.POINTER(index), [handle, index]),
        "gguf_set_val_bool": (None, [handle, text, ctypes.c_bool]),
        "gguf_set_arr_data": (None, [handle, text, ctypes.c_int, pointer, size]),
        **{f"gguf_get_val_{name}": (result, [handle, index]) for name, result in _SCALARS.values()},
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    return base
