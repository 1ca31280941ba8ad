"""Safetensors checkpoints: headers, index, config.json."""

import json
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.hostile import spoiled
from llmpi.gguf.checkpoint import INDEX, check
from llmpi.models.fetched import checkpoint_parts
from llmpi.plan.config_json import of_config
from llmpi.plan.model_facts import _json

PATIENCE_S = 120.0
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 256,
    "quantization_config": None,
    "sliding_window": 16,
}
HEADER = {
    "a": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]},
    "b": {"dtype": "F32", "shape": [4], "data_offsets": [32, 48]},
    "__metadata__": {"format": "pt"},
}
SHARD = "model-00001-of-00001.safetensors"


class Given(NamedTuple):
    config: bytes
    shard: bytes
    listing: bytes | None
    """The index."""


def inputs(draw: random.Random) -> Iterator[Given]:
    while True:
        spoil = [draw.random() < 0.6 for _ in range(3)]
        config = spoiled.dumped(draw, spoiled.data(draw, CONFIG)) if spoil[0] else _plain(CONFIG)
        head = spoiled.dumped(draw, spoiled.data(draw, HEADER)) if spoil[1] else _plain(HEADER)
        length = len(head) if draw.random() < 0.8 else draw.choice((0, 2**63, 2**64 - 1, 10**8))
        named = {"weight_map": {"a": SHARD, "b": SHARD}}
        index = spoiled.dumped(draw, spoiled.data(draw, named)) if spoil[2] else _plain(named)
        yield Given(
            config,
            struct.pack("<Q", length) + head + bytes(48),
            index if draw.random() < 0.7 else None,
        )


def _plain(content: object) -> bytes:
    return json.dumps(content).encode()


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    def receive(given: Given) -> None:
        (folder / "config.json").write_bytes(given.config)
        (folder / SHARD).write_bytes(given.shard)
        (folder / INDEX).unlink(missing_ok=True)
        if given.listing is not None:
            (folder / INDEX).write_bytes(given.listing)
        checkpoint_parts([path.name for path in folder.iterdir()], (folder / INDEX).read_bytes)
        assert check(folder)["parameters"] > 0
        of_config(_json(folder / "config.json"), "config.json").sizes("Q4_0")

    yield receive
