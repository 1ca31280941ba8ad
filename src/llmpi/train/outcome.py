"""What a training leaves."""

from typing import NamedTuple

from llmpi.gguf.records import Gguf, LearnedBlock, LookAtHeldOut


class Trained(NamedTuple):
    made: Gguf
    history: list[LookAtHeldOut]
    """The first of what was not trained."""
    after: LookAtHeldOut
    """Of what is in the file."""
    windows: int
    """That were learned from."""
    verified: int
    """Tensors whose bytes were compared with those that training saw."""
    blocks: list[LearnedBlock]
    """Of a training block by block."""
