"""Settings of the kind `squad`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from llmpi import layout
from llmpi.study.fields import LocalPath, Points, RepoId, Revision, one_of
from llmpi.study.languages import LanguageCode
from llmpi.study.task import Order, Task


class SquadTask(Task):
    """Reading comprehension with abstention, SQuAD v2."""

    task: Literal["squad"]
    """`squad`: exact match and F1, HasAns and NoAns apart."""
    squad_file: LocalPath | None = None
    """Questions from a file in the official JSON format (`llmpi questions` makes one of a CSV with
    passages, or with a folder of documents), or"""
    hub: RepoId | None = None
    """from a data set on the Hugging Face hub, `owner/name`, with SQuAD's columns."""
    revision: Revision = "main"
    """Of the data set: commit sha; a branch or tag is resolved and locked as a model's is."""
    subset: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """Configuration of the data set, where it has several."""
    split: str = Field(default="validation", pattern=r"^\w+$")
    """Split of the data set."""
    questions: int | None = Field(default=None, ge=1)
    """Question budget: whole paragraphs are drawn until it is reached. By default all questions."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw of paragraphs."""
    examples: int = Field(default=4, ge=0, le=4)
    """Worked questions, on other passages, in front of every question: half of four, and of two,
    are unanswerable."""
    prompt: Literal[1, 2] = 1
    """Which of the frozen prompts: other words, and the worked questions in another order. A task
    with each of them shows how far a verdict hangs on the prompt."""
    language: LanguageCode = "en"
    """Of the questions (ISO 639-1). `en` is scored as the official script does it. Other languages
    without Unicode's punctuation, digits of both widths alike; where words have no blanks between
    them (`ja`, `zh`, `th`, ...), F1 is by characters."""
    max_new_tokens: int = Field(default=32, ge=1, le=4096)
    """Bound on the tokens of an answer."""
    context_tokens: int = Field(default=4096, ge=512, le=1_000_000)
    """Context that all questions computed together share: bounds the memory. A question that does
    not fit is marked so and scores 0."""
    block_questions: int | None = Field(default=None, ge=1)
    """Questions that are computed as one block, and kept, at least: whole paragraphs. By default
    256, and 48 in a descent, which looks after each."""
    shards: int = Field(default=1, ge=1, le=1000)
    """So many jobs share the blocks of a variant, on a cluster at the same time; the record is the
    same to the byte. No task of a descent can be shared."""

    has_ans_f1_drop_at_most: Points | None = 5
    """Loss of F1 against the widest quantization, on the questions that have an answer, to put up
    with, percentage points; null asks for nothing. What is recommended is shown not to lose more.
    """
    no_ans_drop_at_most: Points | None = 5
    """The same of the questions without an answer, on which to abstain is right."""

    ANSWERS = True
    OVER_HTTP = True
    FILES = ("squad_file",)
    BOUND = "questions"
    JUDGING = ("has_ans_f1_drop_at_most", "no_ans_drop_at_most")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        one_of(self, "squad_file", "hub")
        return self

    def summary_files(self, study: str, task: str, order: Order) -> list[str]:  # noqa: ARG002
        return [layout.at(layout.QUESTIONS, study=study, task=task)]

    def questions_file(self, study: str, task: str) -> str:
        return layout.at(layout.QUESTIONS, study=study, task=task)

    @property
    def dataset(self) -> tuple[str, str] | None:
        return (self.hub, self.revision) if self.hub else None
