"""What the child process of `llmpi.quality.divergence.evaluate` is asked, and what it answers."""

from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from llmpi.quality.divergence.records import (
    DivergenceMeasured,
    PerplexityMeasured,
    ReferenceRun,
    TextIdentity,
    Vocabulary,
)
from llmpi.quality.records import Computation


class _Job(TypedDict):
    gguf: str
    gguf_sha256: str
    threads: int
    computation: Computation
    partial: str
    """Folder of what is done so far."""
    window_tokens: int


class TextToCut(TypedDict):
    """A text, and how it is to be cut."""

    corpus: TextIdentity
    text: str
    window_tokens: int
    chunks: int | None


class PerplexityJob(_Job, TextToCut):
    task: Literal["perplexity", "reference"]
    rows: str | None
    """File for the reference's log-probabilities, and"""
    max_bytes: int | None
    """how large it may become."""


class DivergenceJob(_Job):
    task: Literal["divergence"]
    rows: str
    """The reference's log-probabilities."""
    reference: ReferenceRun
    corpus: TextIdentity
    vocabulary: Vocabulary
    chunks: int
    wanted_chunks: int
    available_chunks: int


class PerplexityOutcome(TypedDict):
    """What the child writes: what it measured, or why it refused to."""

    measured: PerplexityMeasured | None
    refused: str | None


class DivergenceOutcome(TypedDict):
    measured: DivergenceMeasured | None
    refused: str | None


def unfinished(rows: Path) -> Path:
    """Where a reference's log-probabilities stand until all are there."""
    return rows.with_name(f".{rows.name}.part")
