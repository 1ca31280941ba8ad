"""Learn one transformer block of a model for a variant: what it brings, and how long it takes.

The block in the middle, given what the unquantized ones before it leave. The work is done in a
child process (`python -m llmpi.train.probe JOB OUT`): torch lives only there.
"""

import shutil
from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from llmpi.accidents import supervise
from llmpi.device.machine import capacity
from llmpi.engine.progress import to_stderr
from llmpi.engine.records import Failed, record
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Start, TrainingSettings
from llmpi.quant_types import is_trained
from llmpi.records import failed, sha256_of_json, sha256_of_text
from llmpi.study.training import Rounding, Training
from llmpi.train.child import ENVIRONMENT
from llmpi.train.qat import said

ENTRY = "llmpi.train.probe"
WINDOWS = 64
"""Of the text, at most: they go through half of the model first."""


class Job(TypedDict):
    """What the process is to do."""

    base: str
    base_manifest: Start
    quant: str
    training: TrainingSettings | None
    """None where a rounding is learned."""
    rounding_steps: int
    text: str
    folder: str
    threads: int


@record
class Learned(TypedDict):
    """What the block came to."""

    block: int
    """Its number, from 0."""
    blocks: int
    """That the model has."""
    plain: float
    """Its error as llama.cpp rounds it, on text that is not learned from."""
    kept: float
    """The same of what was learned, or of where that began, if it errs less."""
    seconds: float
    """Of learning."""


class Outcome(TypedDict):
    """What the process writes: what it found; or why it refused, or could not."""

    made: Learned | None
    refused: str | None
    spoilt: str | None


@record
class BlockProbe(Learned):
    """A probe."""

    status: Literal["ok"]
    quant: str
    identity: str
    """Of model, text and settings, without what only the whole has."""


def probe_block(
    base: Path,
    base_manifest: Start,
    *,
    quant: str,
    settings: Training | Rounding,
    text: str,
    folder: Path,
) -> BlockProbe | Failed:
    """What one block learns for a variant.

    Args:
        base: the F16 GGUF of the model.
        quant: `Q4_0-qat`, `Q4_0+round`.
        settings: of the training, or of the rounding, as `quant` wants it.
        folder: for what is written meanwhile; removed at the end.

    Raises:
        LlmpiError: the text is too short.
        AccidentError: the memory or the disk did not suffice.
    """
    job: Job = {
        "base": str(base),
        "base_manifest": base_manifest,
        "quant": quant,
        "training": said(settings) if isinstance(settings, Training) else None,
        "rounding_steps": settings.steps,
        "text": text,
        "folder": str(folder),
        "threads": capacity.processors(),
    }
    outcome = supervise(ENTRY, job, writes=Outcome, log=_tell, environment=ENVIRONMENT)
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(outcome, Death):
        return failed("probe", outcome.reason, log_tail=outcome.tail)
    if outcome["refused"]:
        raise LlmpiError(outcome["refused"])
    if not outcome["made"]:
        return failed("probe", outcome["spoilt"] or "")
    identity = identity_of(base_manifest["sha256"], quant, settings, text)
    return {"status": "ok", "quant": quant, "identity": identity, **outcome["made"]}


def _tell(line: str) -> None:
    """Of the process, llmpi's own lines, and none of the engine's."""
    if line.startswith("llmpi: "):
        to_stderr(line)


def identity_of(base_sha256: str, quant: str, settings: Training | Rounding, text: str) -> str:
    assert is_trained(quant) == isinstance(settings, Training)
    own = settings.model_dump()
    return sha256_of_json([base_sha256, quant, own, sha256_of_text(text)])
