"""What the processes that learn have in common: how they answer, and where they work."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from typing_extensions import TypedDict

from llmpi.engine import info as engine_info
from llmpi.engine.llama import EngineError
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf import quantizers

Made = TypeVar("Made")


class _Outcome(TypedDict, Generic[Made]):
    """As `llmpi.train.child.Outcome`, of whatever is made."""

    made: Made | None
    refused: str | None
    spoilt: str | None


def answer(learn: Callable[[Any], Made], job: str, out: str) -> None:  # of any job
    """Do the job in one file, and write to the other what came of it; progress goes to stderr."""
    engine_info.log_to(sys.stderr.write)
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    outcome: _Outcome[Made] = {"made": None, "refused": None, "spoilt": None}
    try:
        outcome["made"] = learn(asked)
    except EngineError as error:
        sys.exit(str(error))
    except CellError as error:
        outcome["spoilt"] = str(error)
    except LlmpiError as error:
        outcome["refused"] = str(error)
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


def use_threads(count: int) -> None:
    """So many, for torch and for ggml's quantizers."""
    torch.set_num_threads(count)
    quantizers.most = count


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """An empty folder for the block; of one that was killed, nothing is left behind for long."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"
