"""Settings of the kind `divergence`."""

from typing import Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from llmpi.study.fields import Bytes, Points, TextSource
from llmpi.study.task import Beside, Task


class DivergenceTask(Task, TextSource):
    """Perplexity of a text, and how far a variant's predictions are from those of the F16."""

    task: Literal["divergence"]
    """`divergence`: perplexity and KL divergence, as llama-perplexity defines them."""
    window_tokens: int = Field(default=512, ge=16, le=1_000_000)
    """Tokens of a window; the second half of each is scored."""
    chunks: int | None = Field(default=None, ge=1)
    """So many windows from the beginning. By default the whole text."""
    max_bytes: Bytes = 2 * 1024**3
    """What the reference's log-probabilities may take on disk; fewer windows are scored if need
    be, and the record says so."""

    perplexity_rise_at_most_pct: Points | None = 10
    """Rise of the perplexity against the F16 that is put up with, per cent; null asks for
    nothing."""

    FILES = ("text_file",)
    BOUND = "chunks"
    JUDGING = ("perplexity_rise_at_most_pct",)

    def check(self, task: str, beside: Beside) -> None:
        """Nothing is scored on what it was made with."""
        for key, text in beside.texts.items():
            if text.overlaps(self):
                raise PydanticCustomError(
                    "overlap",
                    "'{key}' reads the text that the task '{task}' scores, which would flatter "
                    "what is made with it; give each a part of its own with from_pct and to_pct",
                    {"key": key, "task": task, "loc": (key, "text")},
                )

    @property
    def dataset(self) -> tuple[str, str] | None:
        return (self.hub, self.revision) if self.hub else None
