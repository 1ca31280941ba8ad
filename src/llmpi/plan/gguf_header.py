"""The header of a GGUF file, read in a child process: a file from outside is untrusted input.

`python -m llmpi.plan.gguf_header JOB OUT`
"""

import json
import logging
import sys
from pathlib import Path
from typing import TypedDict

from llmpi.accidents import supervise
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.plan.architectures import Model, Stated, of_header

log = logging.getLogger(__name__)


class Header(TypedDict):
    """What the child tells of a file."""

    fields: Stated
    """All but the tokenizer's."""
    tensors: dict[str, list[int]]
    """Shapes, in the file's order."""


def model_in(path: Path) -> Model:
    """The model of a GGUF file; no weight is read.

    Raises:
        LlmpiError: it is no GGUF file, is damaged, or lacks what a model must state.
    """
    job = {"path": str(path)}
    outcome = supervise(__name__, job, writes=Header, log=lambda line: log.debug("%s", line))
    if isinstance(outcome, Death):
        raise LlmpiError(f"{path}: this is no sound GGUF file")
    try:
        shapes = {name: tuple(shape) for name, shape in outcome["tensors"].items()}
        return of_header(outcome["fields"], shapes)
    except LlmpiError as error:
        raise LlmpiError(f"{path}: {error}") from None


def main(job: str, out: str) -> None:
    from llmpi.gguf import contents

    path = Path(json.loads(Path(job).read_text(encoding="utf-8"))["path"])
    with contents.header(path) as handle:
        fields = contents.fields(handle)
    told = {name: value for name, value in fields.items() if not name.startswith("tokenizer.")}
    tensors = {name: held.shape for name, held in contents.stored(path).items()}
    Path(out).write_text(json.dumps({"fields": told, "tensors": tensors}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
