"""A GGUF file in several parts, as llama-gguf-split makes them: the same tensors, byte for byte."""

import ctypes
import os
from pathlib import Path
from typing import Any

from llmpi.engine import shards
from llmpi.gguf import contents, ggml
from llmpi.gguf.quantizers import kinds


def split(gguf: Path, folder: Path, stem: str, parts: int) -> list[Path]:
    """Write `STEM-00001-of-0000N.gguf` and so on to `folder` (tools/gguf-split/gguf-split.cpp)."""
    base = ggml.base()
    for name, kind in (("u16", ctypes.c_uint16), ("i32", ctypes.c_int32)):
        setter = getattr(base, f"gguf_set_val_{name}")
        setter.argtypes, setter.restype = [ctypes.c_void_p, ctypes.c_char_p, kind], None
    tensors = list(contents.stored(gguf).items())
    names = shards.names(f"{stem}-00001-of-{parts:05}.gguf")
    step = -(-len(tensors) // parts)
    for at, name in enumerate(names):
        handle = base.gguf_init_empty()
        if at == 0:
            with contents.header(gguf) as source:
                base.gguf_set_kv(handle, source)
        base.gguf_set_val_u16(handle, b"split.no", at)
        base.gguf_set_val_u16(handle, b"split.count", parts)
        base.gguf_set_val_i32(handle, b"split.tensors.count", len(tensors))
        _write(handle, dict(tensors[at * step : (at + 1) * step]), folder / name)
    return [folder / name for name in names]


def _write(handle: Any, tensors: dict[str, contents.Stored], out: Path) -> None:
    base = ggml.base()
    memory = base.ggml_init(
        ggml.MemoryParams(len(tensors) * base.ggml_tensor_overhead(), None, True)
    )
    for name, held in tensors.items():
        shape = (ctypes.c_int64 * len(held.shape))(*held.shape[::-1])
        tensor = base.ggml_new_tensor(memory, kinds()[held.kind].id, len(held.shape), shape)
        base.ggml_set_name(tensor, name.encode())
        tensor.contents.data = held.data.ctypes.data
        base.gguf_add_tensor(handle, tensor)
    assert base.gguf_write_to_file(handle, os.fsencode(out), False)
    base.ggml_free(memory)
    base.gguf_free(handle)
