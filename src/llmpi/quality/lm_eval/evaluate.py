"""Score a variant on tasks of EleutherAI's lm-evaluation-harness, in a process of its own."""

import importlib.util
from pathlib import Path
from typing import TypedDict

from llmpi.engine.supervise import Death, supervise
from llmpi.errors import LlmpiError
from llmpi.records import Record, failed, is_ok
from llmpi.script import tell

# Bars are for terminals. The bootstrap would fork the engine's process once for every core.
ENVIRONMENT = {"TQDM_DISABLE": "1", "DISABLE_MULTIPROC": "1"}


class Settings(TypedDict):
    """What is asked of the harness; its own words, where it has them."""

    tasks: list[str]
    """Names of tasks, groups or tags."""
    include_path: str | None
    """Folder of one's own task files (YAML)."""
    limit: int | None
    """So many items of each task, from the first."""
    num_fewshot: int | None
    """Worked examples in front of each item; by default what the task says."""
    apply_chat_template: bool
    """Whether prompts are put as turns in the model's chat template."""
    context_tokens: int
    """Context that all that runs at once shares; one sequence has three quarters of it at most."""


def evaluate_lm_eval(gguf: Path, manifest: Record, settings: Settings, *, threads: int) -> Record:
    """The quality record of one variant on tasks of the harness.

    Whatever a task or the engine dies of is a result, too: a failed record with its reason.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.

    Returns:
        `summary` (`items`, `metrics`), `tasks` and `items` as `llmpi.quality.lm_eval.model` makes
        them from the harness's results, and what they came from.

    Raises:
        LlmpiError: the harness is not installed, or `include_path` is not there.
    """
    if not is_ok(manifest):
        return manifest
    if importlib.util.find_spec("lm_eval") is None:
        raise LlmpiError(
            "lm-evaluation-harness is not installed, and a task of the kind lm_eval needs it: "
            "make lm-eval (or: pip install 'llmpi[lm-eval]')"
        )
    include = settings["include_path"]
    if include is not None and not Path(include).is_dir():
        raise LlmpiError(f"include_path {include} is not a folder: it holds the tasks' YAML files")
    job = {
        "gguf": str(gguf),
        "gguf_sha256": manifest["sha256"],
        "settings": settings,
        "threads": threads,
    }
    ended = supervise("llmpi.quality.lm_eval.model", job, log=tell, environment=ENVIRONMENT)
    if isinstance(ended, Death):
        return failed("quality", ended.reason, log_tail=ended.tail)
    return ended
