"""A model of which only the header is there."""

from pathlib import Path

from llmpi.plan.hub_head import header_end
from llmpi.plan.model import Head, Model


def headed(gguf: Path) -> Model:
    """The model of a file that has lost its weights."""
    data = gguf.read_bytes()
    end = header_end(data)
    assert end is not None
    return Model(Head(((gguf.name, data[:end], len(data)),)), gguf.name)
