"""Quality tasks, and the minimum they ask for."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmpi.study.fields import Bytes, Part, RepoId, Revision, TextSource, one_of


class SquadTask(Part):
    """Reading comprehension with abstention, SQuAD v2."""

    task: Literal["squad"]
    """`squad`: exact match and F1, HasAns and NoAns apart."""
    squad_file: str | None = Field(default=None, min_length=1)
    """Questions from a file in the official JSON format, or"""
    hub: RepoId | None = None
    """from a data set on the Hugging Face hub, `owner/name`, with SQuAD's columns."""
    revision: Revision = "main"
    """Of the data set: commit sha; a branch or tag is resolved and locked as a model's is."""
    split: str = Field(default="validation", pattern=r"^\w+$")
    """Split of the data set."""
    questions: int | None = Field(default=None, ge=1)
    """Question budget: whole paragraphs are drawn until it is reached. By default all questions."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw of paragraphs."""
    examples: int = Field(default=4, ge=0, le=4)
    """Worked questions, on one other passage, in front of every question."""
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

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        one_of(self, "squad_file", "hub")
        return self


class DivergenceTask(TextSource):
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


class AbTask(Part):
    """Your own prompts: any two variants side by side, by rule and by people who do not know which.

    One line of the file is a prompt, what is expected of its answer, and its tags; see
    docs/methodology.md."""

    task: Literal["ab"]
    """`ab`: what each variant makes of your prompts, and pairs of variants compared."""
    prompts: str = Field(min_length=1)
    """The file, one JSON object a line."""
    pairs: list[tuple[str, str]] = Field(default_factory=list)
    """Pairs of variants, each as `model/quantization`. By default every variant against the widest
    of its model."""
    judgements: str | None = Field(default=None, min_length=1)
    """Folder with files that people saved from the blind sheets."""
    seed: int = Field(default=0, ge=0)
    """Of the order on the sheets."""
    max_new_tokens: int = Field(default=160, ge=1, le=8192)
    """Bound on the tokens of an answer."""
    context_tokens: int = Field(default=4096, ge=512, le=1_000_000)
    """Context that all prompts computed together share."""


class LmEvalTask(Part):
    """Tasks of EleutherAI's lm-evaluation-harness, on the engine. Set up with `make lm-eval`."""

    task: Literal["lm_eval"]
    """`lm_eval`: multiple choice, generation, rolling log-likelihood."""
    tasks: list[str] = Field(min_length=1)
    """Names of its tasks, groups or tags."""
    include_path: str | None = Field(default=None, min_length=1)
    """Folder of your own task files (YAML)."""
    limit: int | None = Field(default=None, ge=1)
    """So many items of each task, from the first."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Worked examples in front of each item; by default what the task says."""
    apply_chat_template: bool = False
    """Put prompts as turns in the model's chat template."""
    context_tokens: int = Field(default=4096, ge=768, le=1_000_000)
    """Context that all that runs at once shares; one sequence has three quarters of it at most."""


QualityTask = Annotated[
    SquadTask | DivergenceTask | AbTask | LmEvalTask, Field(discriminator="task")
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


class Descent(Part):
    """From high to low bit width, until one is not shown to be good enough.

    The task is asked block by block and no longer than it takes to tell; widths below the first one
    that fails are skipped."""

    task: str
    """Id of a `squad` task under `quality`."""
    metric: Literal["exact", "f1", "has_ans_exact", "has_ans_f1"] = "has_ans_f1"
    """Metric of that task. By default of the questions that have an answer: a variant that always
    abstains loses nothing on the others."""
    margin_pct: float = Field(gt=0, lt=100)
    """Loss against the widest quantization to put up with, percentage points."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Probability that any width is wrongly said to hold."""
