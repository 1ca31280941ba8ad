"""Lines for whoever watches a run: time, job, what it says."""

import logging
import time
from typing import NamedTuple

from llmpi.engine.shown import ShownFormatter

FAILED = "failed: "
"""How a job says that what it made is the record of a failed cell."""
ERROR = "error: "
"""How a job says why it ends without a result."""
INTERRUPTED = "interrupted"
"""The last that it says at Ctrl-C, which is no error."""
WARNING = "warning: "


class JobLine(NamedTuple):
    """A line that a job said."""

    job: str
    text: str


def job_name(log: str) -> str:
    """A job's name: where its log lies, so that it leads there.

    Args:
        log: path, such as `logs/quantize_gguf/smollm2-135m/Q4_0.log`.
    """
    return log.removeprefix("logs/").removesuffix(".log")


def job_log(name: str) -> str:
    """The log that a job's name leads to."""
    return f"logs/{name}.log"


def job_line(job: str, text: str) -> str:
    """Of several lines each by itself, so that every one can be searched for."""
    begin = f"{time.strftime('%H:%M:%S')} {job}"
    return "\n".join(f"{begin} {line}" for line in text.splitlines() or [""])


def heard(line: str) -> JobLine | None:
    """What `job_line` made; None of any other line."""
    at, _, rest = line.partition(" ")
    job, _, text = rest.partition(" ")
    is_time = len(at) == 8 and at[2::3] == "::" and at.replace(":", "").isdigit()
    return JobLine(job, text) if is_time and "/" in job else None


class JobFormatter(ShownFormatter):
    """Of every record a line of its job."""

    def __init__(self, job: str) -> None:
        super().__init__("%(message)s")
        self._job = job

    def format(self, record: logging.LogRecord) -> str:
        begin = WARNING if record.levelno == logging.WARNING else ""
        return job_line(self._job, f"{begin}{super().format(record)}")
