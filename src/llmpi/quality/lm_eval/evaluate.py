"""Score a variant on tasks of EleutherAI's lm-evaluation-harness, in a process of its own."""

import importlib.util
from pathlib import Path
from typing import TypedDict

from llmpi.accidents import supervise
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.quality.lm_eval.records import LmEvalScored, Settings
from llmpi.quality.records import VariantFile
from llmpi.script import tell

# Bars are for terminals. The bootstrap would fork the engine's process once for every core.
ENVIRONMENT = {"TQDM_DISABLE": "1", "DISABLE_MULTIPROC": "1"}


class Job(TypedDict):
    """What the process is to do."""

    gguf: str
    gguf_sha256: str
    settings: Settings
    threads: int


class Outcome(TypedDict):
    """What the process writes: a score, or why there is none."""

    scored: LmEvalScored | Failed


def evaluate_lm_eval(
    gguf: Path, manifest: VariantFile | Failed, settings: Settings, *, threads: int
) -> LmEvalScored | Failed:
    """The quality record of one variant on tasks of the harness.

    Whatever a task or the engine dies of by itself is a result, too: a failed record with its
    reason.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.

    Raises:
        LlmpiError: the harness is not installed, or `include_path` is not there.
        AccidentError: the memory or the disk did not suffice.
    """
    if manifest["status"] != "ok":
        return manifest
    if importlib.util.find_spec("lm_eval") is None:
        raise LlmpiError(
            "lm-evaluation-harness is not installed, and a task of the kind lm_eval needs it: "
            "make lm-eval (or: pip install 'llmpi[lm-eval]')"
        )
    include = settings["include_path"]
    if include is not None and not Path(include).is_dir():
        raise LlmpiError(f"include_path {include} is not a folder: it holds the tasks' YAML files")
    job: Job = {
        "gguf": str(gguf),
        "gguf_sha256": manifest["sha256"],
        "settings": settings,
        "threads": threads,
    }
    ended = supervise(
        "llmpi.quality.lm_eval.model", job, writes=Outcome, log=tell, environment=ENVIRONMENT
    )
    if isinstance(ended, Death):
        return ended.failed("quality")
    return ended["scored"]
