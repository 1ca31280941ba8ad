"""What llama.cpp's parameters are called by number, and how they are set."""

from typing import Any

# ggml_type (ggml.h) of what a KV cache may hold.
KV_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}  # llama_flash_attn_type (llama.h)
# llama_load_mode (llama.h) by (mmap, mlock).
LOAD_MODES = {(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3}
LAZY_MODES = {"off": 0, "auto": 1, "on": 2}  # llama_lazy_mode (llama.h)


def fill(params: Any, **fields: Any) -> None:
    """Set fields of a C structure; ctypes takes an unknown one in silence, and sets nothing."""
    known = {name for name, *_ in params._fields_}
    for name, value in fields.items():
        if name not in known:
            raise AttributeError(f"{type(params).__name__} has no field {name}")
        setattr(params, name, value)
