"""A file that llama.cpp made, with what was learned in its place."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from llmpi.errors import CellError
from llmpi.gguf import contents
from llmpi.train.blocks.model import name_of
from llmpi.train.blocks.walk import Done

Learned = Mapping[str, np.ndarray]
"""Bytes, by the name of the tensor."""


def of_blocks(done: Iterable[Done]) -> Iterator[tuple[str, np.ndarray]]:
    for block, one in enumerate(done):
        for part, data in one["data"].items():
            yield name_of(block, part), data.numpy().reshape(-1)


def write(path: Path, learned: Learned) -> None:
    """Put it in its place."""
    held = contents.stored(path, edit=True)
    for name, data in learned.items():
        held[name].data[:] = data


def verify(path: Path, learned: Learned) -> None:
    """
    Raises:
        CellError: the file holds something else.
    """
    held = contents.stored(path)
    for name, data in learned.items():
        if not np.array_equal(held[name].data, data):
            raise CellError(f"{name}: the file does not hold what was learned")
