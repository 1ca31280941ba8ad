"""ggml's own library, as the installed engine brings it: what llmpi calls of it, and GGUF files."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpi.errors import LlmpiError

if TYPE_CHECKING:
    import numpy as np

# ggml_type (ggml.h) of the tensors that are numbers as they stand, by numpy's name of these.
TYPES = {"float32": 0, "float16": 1}
DTYPES = {kind: dtype for dtype, kind in TYPES.items()}


class GgufParams(ctypes.Structure):
    """`struct gguf_init_params` (gguf.h)."""

    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p))]


class MemoryParams(ctypes.Structure):
    """`struct ggml_init_params` (ggml.h)."""

    _fields_ = [
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    ]


class Tensor(ctypes.Structure):
    """`struct ggml_tensor` (ggml.h): a node of the graph that the engine computes."""


TensorPointer = ctypes.POINTER(Tensor)
Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", TensorPointer * 10),
    ("view_src", TensorPointer),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]

_handle, _index, _size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
_kind, _text = ctypes.c_int, ctypes.c_char_p
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "gguf_init_empty": (_handle, []),
    "gguf_init_from_file": (_handle, [_text, GgufParams]),
    "gguf_free": (None, [_handle]),
    "gguf_find_key": (_index, [_handle, _text]),
    "gguf_get_val_str": (_text, [_handle, _index]),
    "gguf_get_val_u32": (ctypes.c_uint32, [_handle, _index]),
    "gguf_get_val_bool": (ctypes.c_bool, [_handle, _index]),
    "gguf_get_val_u16": (ctypes.c_uint16, [_handle, _index]),
    "gguf_get_kv_type": (_kind, [_handle, _index]),
    "gguf_get_val_f32": (ctypes.c_float, [_handle, _index]),
    "gguf_get_data_offset": (_size, [_handle]),
    "gguf_get_n_tensors": (_index, [_handle]),
    "gguf_find_tensor": (_index, [_handle, _text]),
    "gguf_get_tensor_name": (_text, [_handle, _index]),
    "gguf_get_tensor_type": (_kind, [_handle, _index]),
    "gguf_get_tensor_size": (_size, [_handle, _index]),
    "gguf_get_tensor_offset": (_size, [_handle, _index]),
    "gguf_set_kv": (None, [_handle, _handle]),
    "gguf_set_val_str": (None, [_handle, _text, _text]),
    "gguf_set_val_u32": (None, [_handle, _text, ctypes.c_uint32]),
    "gguf_set_val_f32": (None, [_handle, _text, ctypes.c_float]),
    "gguf_set_arr_str": (None, [_handle, _text, ctypes.POINTER(_text), _size]),
    "gguf_add_tensor": (None, [_handle, TensorPointer]),
    "gguf_write_to_file": (ctypes.c_bool, [_handle, _text, ctypes.c_bool]),
    "ggml_init": (_handle, [MemoryParams]),
    "ggml_free": (None, [_handle]),
    "ggml_tensor_overhead": (_size, []),
    "ggml_new_tensor": (TensorPointer, [_handle, _kind, _kind, ctypes.POINTER(_index)]),
    "ggml_set_name": (TensorPointer, [TensorPointer, _text]),
    "ggml_get_tensor": (TensorPointer, [_handle, _text]),
    "ggml_nbytes": (_size, [TensorPointer]),
    "ggml_n_dims": (_kind, [TensorPointer]),
    "ggml_op_name": (_text, [_kind]),
    "ggml_type_name": (_text, [_kind]),
    "ggml_type_size": (_size, [_kind]),
    "ggml_blck_size": (_index, [_kind]),
    "ggml_backend_buffer_is_host": (ctypes.c_bool, [_handle]),
    "ggml_backend_tensor_get": (None, [TensorPointer, _handle, _size, _size]),
}


@cache
def base() -> Any:
    """libggml-base with the signatures of ggml.h, gguf.h and ggml-backend.h that are used here.

    Of the engine that Python finds; the engine itself is not loaded, which takes ten times as long.
    """
    engine = find_spec("llama_cpp")
    assert engine and engine.origin
    folder = Path(engine.origin).parent / "lib"
    library = ctypes.CDLL(str(next(iter(sorted(folder.glob("libggml-base.*"))))))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def values(tensor: Tensor, dtype: Any) -> "np.ndarray":
    """What a tensor of the engine holds, by ggml's own strides, wherever it lies.

    Args:
        dtype: of an element; the tensor's type is not looked at.

    Returns:
        Shape (ne[3], ne[2], ne[1], ne[0]). In the engine's own memory where the processor can
        reach that: gone when the engine goes on.
    """
    import numpy as np

    ggml, size = base(), base().ggml_nbytes(tensor)
    if ggml.ggml_backend_buffer_is_host(tensor.buffer):
        data = (ctypes.c_char * size).from_address(tensor.data)
    else:
        data = ctypes.create_string_buffer(size)
        ggml.ggml_backend_tensor_get(tensor, data, 0, size)
    return np.ndarray(tensor.ne[::-1], dtype, data, strides=tensor.nb[::-1])


# --- files ----------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> "Iterator[tuple[int, dict[str, np.ndarray]]]":
    """A sound GGUF file of unquantized tensors: its header, and the tensors by name.

    The tensors, shaped as numpy says it (ggml's widest dimension last), live as long as the block.

    Raises:
        ValueError: it is no GGUF file, or holds a quantized tensor.
    """
    ggml, memory = base(), ctypes.c_void_p()
    header = ggml.gguf_init_from_file(os.fsencode(path), GgufParams(False, ctypes.pointer(memory)))
    if not header:
        raise ValueError(f"{path}: this is no sound GGUF file")
    try:
        tensors: dict[str, np.ndarray] = {}
        for i in range(ggml.gguf_get_n_tensors(header)):
            name = ggml.gguf_get_tensor_name(header, i)
            tensors[name.decode()] = _in_file(path, ggml.ggml_get_tensor(memory, name))
        yield header, tensors
    finally:
        ggml.gguf_free(header)
        ggml.ggml_free(memory)


def write(path: Path, header: int, tensors: "Mapping[str, np.ndarray]") -> None:
    """Write a GGUF file.

    Args:
        header: of `gguf_init_empty`, with the fields the file shall have.
        tensors: of float32 or float16, at most four dimensions.

    Raises:
        LlmpiError: the file cannot be written.
    """
    import numpy as np

    ggml = base()
    size = len(tensors) * ggml.ggml_tensor_overhead()
    memory = ggml.ggml_init(MemoryParams(size, None, True))
    try:
        held = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        for name, array in held.items():
            shape = (ctypes.c_int64 * array.ndim)(*array.shape[::-1])
            tensor = ggml.ggml_new_tensor(memory, TYPES[array.dtype.name], array.ndim, shape)
            ggml.ggml_set_name(tensor, name.encode())
            tensor.contents.data = array.ctypes.data
            ggml.gguf_add_tensor(header, tensor)
        if not ggml.gguf_write_to_file(header, os.fsencode(path), False):
            raise LlmpiError(
                f"{path}: the GGUF file cannot be written: the disk is full, or its folder not "
                "yours. Mend that and run again."
            )
    finally:
        ggml.ggml_free(memory)


def _in_file(path: Path, pointer: Any) -> "np.ndarray":
    import numpy as np

    tensor: Tensor = pointer.contents
    if tensor.type not in DTYPES:
        raise ValueError(f"{path}: {tensor.name.decode()} is quantized")
    dimensions = base().ggml_n_dims(pointer)
    dtype, shape = DTYPES[tensor.type], tensor.ne[:dimensions][::-1]
    data = (ctypes.c_char * base().ggml_nbytes(pointer)).from_address(tensor.data)
    return np.ndarray(shape, dtype, data)
