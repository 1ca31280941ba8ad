"""Settings of the kind `lm_eval`."""

from typing import Literal

from pydantic import Field

from llmpi.study.fields import LocalPath, Points
from llmpi.study.task import Task


class LmEvalTask(Task):
    """Tasks of EleutherAI's lm-evaluation-harness, on the engine. Set up with `make lm-eval`."""

    task: Literal["lm_eval"]
    """`lm_eval`: multiple choice, generation, rolling log-likelihood."""
    tasks: list[str] = Field(min_length=1)
    """Names of its tasks, groups or tags."""
    include_path: LocalPath | None = None
    """Folder of your own task files (YAML)."""
    limit: int | None = Field(default=None, ge=1)
    """So many items of each task, from the first."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Worked examples in front of each item; by default what the task says."""
    apply_chat_template: bool = False
    """Put prompts as turns in the model's chat template."""
    context_tokens: int = Field(default=4096, ge=768, le=1_000_000)
    """Context that all that runs at once shares; one sequence has three quarters of it at most."""

    drop_at_most: Points | None = 5
    """Loss against the widest quantization in each metric that is a share of the items that is put
    up with, percentage points; null asks for nothing."""

    FILES = ("include_path",)
    BOUND = "limit"
    JUDGING = ("drop_at_most",)
