"""A model file loaded as usual: what the engine prints, and what decoding a token reads."""

import ctypes
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmpi.engine import info
from llmpi.engine.llama import Engine, Settings
from llmpi.engine.low_level import llama_cpp
from llmpi.gguf import contents, ggml
from llmpi.gguf.footprint import Context


class Loaded(NamedTuple):
    """In bytes; but `read` as printed: to 0.01 MiB."""

    model: float
    kv: float
    state: float
    compute: float
    read: int
    """Counted by an evaluation callback."""


def loaded(gguf: Path, context: Context) -> Loaded:
    """Load a model, make a context of it, decode a token."""
    said: list[str] = []
    info.log_to(said.append)
    counter = Counter(set(contents.stored(gguf)))
    settings = Settings(
        threads=1,
        batch_tokens=context.batch_tokens,
        ubatch_tokens=context.ubatch_tokens,
        kv_cache=context.kv_cache,
        flash_attention=context.flash_attention,
        mmap=False,
        repack=False,
    )
    with Counting(gguf, settings, context, counter) as engine:
        text = "".join(said)
        engine.decode([1])
        engine.synchronize()

    def printed(what: str) -> float:
        found = re.findall(rf"{what} buffer size = +([\d.]+) MiB", text)
        return sum(float(mib) * 1024**2 for mib in found)

    model, kv, state, compute = map(printed, ("model", "KV", "RS", "compute"))
    return Loaded(model, kv, state, compute, counter.bytes)


class Counting(Engine):
    """An engine that is watched at its work."""

    def __init__(
        self, gguf: Path, settings: Settings, context: Context, counter: "Counter"
    ) -> None:
        self._callback = llama_cpp.ggml_backend_sched_eval_callback(counter)
        super().__init__(gguf, settings, context_tokens=context.tokens)

    def _context_fields(self) -> dict[str, Any]:
        return {"cb_eval": self._callback}


class Counter:
    """An evaluation callback: bytes of weights that the nodes of a graph read."""

    def __init__(self, weights: set[str]) -> None:
        self.bytes = 0
        self._weights = weights

    def __call__(self, pointer: int, is_question: bool, _: Any) -> bool:
        node = ctypes.cast(pointer, ggml.TensorPointer).contents
        op = ggml.base().ggml_op_name(node.op).decode()
        if not is_question and op not in SKIPPED:
            self.bytes += sum(
                _read(op, node, source) for source in filter(None, node.src) if self._is_of(source)
            )
        return True

    def _is_of(self, source: Any) -> bool:
        owner = source.contents
        while owner.view_src:
            owner = owner.view_src.contents
        return owner.name.decode() in self._weights and not owner.op


SKIPPED = ("NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE")
CHOSEN = {"MUL_MAT_ID": (2, 2), "ADD_ID": (2, 1), "GET_ROWS": (1, 1)}
"""Nodes that read parts of a weight: which source has their numbers, which dimension they count."""


def _read(op: str, node: Any, source: Any) -> int:
    if op not in CHOSEN:
        size: int = ggml.base().ggml_nbytes(source)
        return size
    numbers, dimension = CHOSEN[op]
    chosen = np.unique(ggml.values(node.src[numbers].contents, np.int32))
    return len(chosen) * int(source.contents.nb[dimension])
