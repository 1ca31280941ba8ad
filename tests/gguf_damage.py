"""A model file that computes another model than its name says."""

import os
from pathlib import Path

from llmpi.gguf import ggml


def swap_halves(gguf: Path, tensor: str) -> None:
    """Each weight is sound, but not where it belongs."""
    base = ggml.base()
    header = base.gguf_init_from_file(os.fsencode(gguf), ggml.GgufParams(True, None))
    index = base.gguf_find_tensor(header, tensor.encode())
    start = base.gguf_get_data_offset(header) + base.gguf_get_tensor_offset(header, index)
    size = base.gguf_get_tensor_size(header, index)
    base.gguf_free(header)
    with gguf.open("r+b") as file:
        file.seek(start)
        data = file.read(size)
        file.seek(start)
        file.write(data[size // 2 :] + data[: size // 2])
