"""Quality tasks, and the minimum they ask for."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from llmpi.study.parts import Part, RepoId, Revision, which


class SquadSettings(Part):
    """What every SQuAD v2 task can say, wherever its questions come from."""

    questions: int | None = Field(default=None, ge=1)
    """Question budget: whole paragraphs are drawn until it is reached. By default all questions."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw of paragraphs."""
    max_new_tokens: int = Field(default=32, ge=1, le=4096)
    """Bound on the tokens of an answer."""
    context_tokens: int = Field(default=2048, ge=64, le=1_000_000)
    """Context the engine reserves; a question that does not fit is marked so and scores 0."""


class SquadFile(SquadSettings):
    """SQuAD v2 questions from a file in the official JSON format."""

    squad_file: str = Field(min_length=1)
    """Path of the file. A relative path starts where Snakemake runs."""


class SquadHub(SquadSettings):
    """SQuAD v2 questions from a data set on the Hugging Face hub."""

    hub: RepoId
    """Data set id, `owner/name`, with SQuAD's columns."""
    revision: Revision = "main"
    """Commit sha; a branch or tag is resolved and locked as a model's is."""
    split: str = Field(default="validation", pattern=r"^\w+$")
    """Split of the data set."""


QualityTask = Annotated[
    Annotated[SquadFile, Tag("squad_file")] | Annotated[SquadHub, Tag("hub")],
    which("squad_file", "hub"),
]


Metric = Literal["exact", "f1", "has_ans_exact", "has_ans_f1", "no_ans_exact", "no_ans_f1"]


class Gate(Part):
    """A minimum that a variant must reach; the report shows who does not."""

    task: str
    """Id of a task under `quality`."""
    metric: Metric = "f1"
    """Metric of that task."""
    at_least_pct: float = Field(ge=0, le=100)
    """Per cent the variant must reach."""
