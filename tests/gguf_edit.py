"""A model file with other metadata, or with fewer layers: the same weights, byte for byte."""

import ctypes
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmpi.gguf import contents, ggml


def edited(
    gguf: Path,
    out: Path,
    fields: Mapping[str, str | int | bool] | None = None,
    without: Sequence[str] = (),
) -> Path:
    """Write `gguf` to `out` with these fields, and without those."""
    base = ggml.base()
    base.gguf_remove_key.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    base.gguf_remove_key.restype = ctypes.c_int64
    base.gguf_set_val_bool.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_bool]
    base.gguf_write_to_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_bool]
    base.gguf_write_to_file.restype = ctypes.c_bool
    with contents.header(gguf) as handle:
        start = base.gguf_get_data_offset(handle)
        for name in without:
            assert base.gguf_remove_key(handle, name.encode()) >= 0, name
        for name, value in (fields or {}).items():
            if isinstance(value, bool):
                base.gguf_set_val_bool(handle, name.encode(), value)
            else:
                contents.set_fields(handle, {name: value})
        assert base.gguf_write_to_file(handle, os.fsencode(out), True)
    with gguf.open("rb") as source, out.open("ab") as target:
        source.seek(start)
        shutil.copyfileobj(source, target)
    return out


def first_layers(gguf: Path, out: Path, count: int) -> Path:
    """Write `gguf`, an unquantized Llama, to `out` without the layers above the first `count`."""
    base = ggml.base()
    with ggml.opened(gguf) as (fields, tensors):
        header = base.gguf_init_empty()
        base.gguf_set_kv(header, fields)
        base.gguf_set_val_u32(header, b"llama.block_count", count)
        kept = tuple(f"blk.{layer}." for layer in range(count))
        names = [n for n in tensors if not n.startswith("blk.") or n.startswith(kept)]
        ggml.write(out, header, {name: tensors[name] for name in names})
        base.gguf_free(header)
    return out
