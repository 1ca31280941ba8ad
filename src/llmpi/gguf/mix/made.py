"""A mix as the quantizer is asked for it, and as the manifest of its file tells of it."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpi.errors import CellError
from llmpi.gguf.contents import stored
from llmpi.gguf.quantizers import kinds
from llmpi.gguf.records import Mix, MixedGroup, MixGroup, MixOption, MixUsed
from llmpi.quant_types import ALIASES, FTYPES, budget_of
from llmpi.records import sha256_of_json

GUESSED = 1024
"""LLAMA_FTYPE_GUESSED (llama.h): what llama.cpp adds to the type of most tensors, where a file does
not say what it is."""
INTEGER = 0
"""LLAMA_KV_OVERRIDE_TYPE_INT (llama.h)."""


def types_of(mix: Mix) -> dict[str, str]:
    """Of each tensor that is quantized."""
    return {tensor: group["type"] for group in mix["groups"] for tensor in group["tensors"]}


def file_type(mix: Mix) -> int:
    """What the file calls itself: mostly of its most frequent type, as llama.cpp would guess."""
    parameters = Counter[str]()
    for group in mix["groups"]:
        parameters[group["type"]] += group["parameters"]
    [(mostly, _)] = parameters.most_common(1)
    return FTYPES[ALIASES.get(mostly, mostly)] | GUESSED


def tensor_types(types: Mapping[str, str]) -> Any:
    """An array of `llama_model_tensor_override`, which ends with one without a pattern: a pattern
    for each tensor, so that none is left to llama.cpp's own rules."""
    from llmpi.engine.low_level import llama_cpp

    entries = [
        llama_cpp.llama_model_tensor_override(f"^{re.escape(name)}$".encode(), kinds()[kind].id)
        for name, kind in types.items()
    ]
    end = llama_cpp.llama_model_tensor_override(None, 0)
    return (llama_cpp.llama_model_tensor_override * (len(entries) + 1))(*entries, end)


def called(number: int) -> Any:
    """An array of `llama_model_kv_override` that sets the file's type, and ends with one without a
    key."""
    from llmpi.engine.low_level import llama_cpp

    value = llama_cpp.llama_model_kv_override_value(val_i64=number)
    entry = llama_cpp.llama_model_kv_override(INTEGER, b"general.file_type", value)
    end = llama_cpp.llama_model_kv_override()
    return (llama_cpp.llama_model_kv_override * 2)(entry, end)


def check_made(gguf: Path, mix: Mix) -> None:
    """
    Raises:
        CellError: the quantizer made something else of a tensor than was asked for, or the budget
            is not kept to.
    """
    made, budget = stored(gguf), budget_of(mix["quant"])
    assert budget
    for name, kind in types_of(mix).items():
        if made[name].kind != kind:
            raise CellError(f"the quantizer made {made[name].kind} of {name}, not {kind}")
    weights = sum(math.prod(one.shape) for one in made.values())
    bits = 8 * sum(one.data.size for one in made.values()) / weights
    size = gguf.stat().st_size
    if size > (budget.file_bytes or size) or bits > (budget.bits_per_weight or bits):
        raise CellError(f"{mix['quant']} has {size} bytes and {bits} bits per weight")


def used(mix: Mix) -> MixUsed:
    """What the manifest says of it."""
    taken = mix["rounds"][mix["taken_round"]]
    expected = taken["kld_nats"] + mix["rounding_nats"]
    return {
        "sha256": sha256_of_json(mix),
        "corpus_sha256": mix["corpus_sha256"],
        "limit_bytes": mix["limit_bytes"],
        "taken_bytes": mix["taken_bytes"],
        "time": mix.get("time"),
        "predicted_nats": taken["predicted_nats"],
        "kld_nats": taken["kld_nats"],
        "expected_nats": expected,
        "probes": mix["probes"],
        "groups": [_told(group) for group in mix["groups"]],
        "splits": mix.get("splits", []),
    }


def _told(group: MixGroup) -> MixedGroup:
    options, size = group["options"], group["bytes"]
    wider = [option for option in options if option["bytes"] > size]
    narrower = [option for option in options if option["bytes"] < size]
    return {
        "name": group["name"],
        "tensors": len(group["tensors"]),
        "type": group["type"],
        "bytes": size,
        "loss_nats": group["loss_nats"],
        "wider": _best([o for o in wider if o["bytes"] == wider[-1]["bytes"]]),
        "narrower": _best([o for o in narrower if o["bytes"] == narrower[0]["bytes"]]),
    }


def _best(options: list[MixOption]) -> MixOption | None:
    """Of options of as many bytes."""
    return min(options, key=lambda option: option["loss_nats"], default=None)
