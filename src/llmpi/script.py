"""What every script of a rule does around its `main`: a log file, and errors a person can read."""

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmpi.errors import LlmpiError

log = logging.getLogger(__name__)


@contextmanager
def job(log: str) -> Iterator[None]:
    """Log to `log` and to the terminal; end with status 1 on an error, explained once.

    An `LlmpiError` is the user's to mend and comes without a traceback; anything else is ours and
    brings its traceback to the log.
    """
    file = logging.FileHandler(Path(log), mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(message)s"))
    screen.setLevel(logging.INFO)
    root = logging.getLogger()
    root.handlers[:] = [file, screen]
    root.setLevel(logging.INFO)
    logging.getLogger("llmpi").setLevel(logging.DEBUG)
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    queued = os.environ.get("SLURM_JOB_ID")
    logging.getLogger("llmpi").debug(
        "on %s%s", platform.node(), f", Slurm job {queued}" if queued else ""
    )
    try:
        yield
    except LlmpiError as error:
        logging.getLogger("llmpi").error("error: %s", error)
        sys.exit(1)
    except Exception:
        logging.getLogger("llmpi").exception("llmpi broke here; please report it with this log")
        sys.exit(1)


def tell(line: str) -> None:
    """A line of a process that works for this job: llmpi's own to the terminal, too."""
    if line.startswith("llmpi: "):
        log.info("%s", line.removeprefix("llmpi: "))
    else:
        log.debug("%s", line)
