"""Snakemake's logger plugin `llmpi`: a live view on a terminal, lines to be searched elsewhere.

Found by its name (`snakemake_logger_plugin_llmpi`); `profiles/default` asks for it. Snakemake's own
output stays in `.snakemake/log/`, and comes back with `--logger-llmpi-view snakemake`.
"""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from llmpi.job_lines import ERROR, FAILED, INTERRUPTED, job_line, job_log, job_name
from llmpi.terminal.disk import error_in
from llmpi.terminal.plain import PlainView
from llmpi.terminal.run_state import Run, told_time

if TYPE_CHECKING:
    from llmpi.terminal.live import LiveView

Facts = dict[str, Any]
"""Of an event: Snakemake's own, of each kind of event others."""

VIEWS = ("auto", "lines", "snakemake")
NARROWEST = 40
STUDY_EVERY_S = 30.0
"""Between lines of how far the whole is, where nothing is drawn."""

NOISE = (
    "Assuming unrestricted shared filesystem",
    "Using shell:",
    "Group jobs: inactive",
    "Conda environments: ignored",
    "Singularity containers: ignored",
    "Select jobs to execute",
    "Removing output files of failed job",
    "Shutting down, this might take some time",
    "Exiting because a job execution failed",
    "Trying to restart job",
    "Complete log(s):",
    "Elapsed time:",
)
"""How messages begin that tell nobody what to do."""
NOTHING_TO_DO = "Nothing to be done"
KILLED = (
    "most likely it was killed, for want of memory: close what else runs, or run fewer jobs at "
    "once (snakemake --cores 1), and run again"
)
SAID_BY_THE_JOB = "returned non-zero exit status"
SAID_AT_THE_END = "At least one job did not complete successfully"


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """What `--logger-llmpi-...` sets."""

    view: str = field(
        default="auto",
        metadata={
            "help": "How a run is shown: auto (drawn on a terminal, else lines), lines, or "
            "snakemake (as Snakemake itself does).",
            "choices": VIEWS,
        },
    )


class LogHandler(LogHandlerBase):
    """Its events come one after another, in a thread of their own."""

    def __post_init__(self) -> None:
        self._run, self._ended = Run(), False
        self._view: LiveView | PlainView = PlainView()
        self._told_at = 0.0
        common, asked = self.common_settings, getattr(self.settings, "view", "auto")
        # What was asked of Snakemake's output is for Snakemake's output.
        its_own = common.dryrun or common.verbose or common.debug_dag or common.printshellcmds
        self._ours = asked != "snakemake" and not its_own and not common.quiet
        self._draws = self._ours and asked == "auto" and can_draw()
        if self._draws:
            import llmpi.terminal.live  # noqa: F401 - not while the first jobs begin to write

    # --- what Snakemake asks of a plugin ----------------------------------------------------------

    @property
    def writes_to_stream(self) -> bool:
        return self._ours

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return False

    @property
    def has_formatter(self) -> bool:
        return False

    @property
    def needs_rulegraph(self) -> bool:
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record; whatever goes wrong in showing it, the run goes on."""
        if not self._ours:
            return
        try:
            self._handle(record)
        except Exception as error:
            with suppress(Exception):
                self._say(f"llmpi: cannot show an event of the run ({error!r})")

    def close(self) -> None:
        with suppress(Exception):
            self._view.close()
        super().close()

    # --- events -----------------------------------------------------------------------------------

    def _handle(self, record: logging.LogRecord) -> None:
        facts, event = vars(record), getattr(record, "event", None)
        own = {"begin": self._begin, "expected": self._expected, "end": self._end}
        theirs: Mapping[LogEvent | None, Callable[[Facts], None]] = {
            LogEvent.RUN_INFO: self._run_info,
            LogEvent.JOB_INFO: self._job_info,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.JOB_ERROR: self._job_error,
            LogEvent.ERROR: self._error,
            None: self._message,
        }
        if named := facts.get("llmpi"):
            own[named](facts)
        elif event in theirs:
            theirs[event](facts)

    def _run_info(self, facts: Facts) -> None:
        self._run.total = facts["stats"]["total"]
        self._open()

    def _begin(self, facts: Facts) -> None:
        for name in ("study", "left", "here", "devices"):
            setattr(self._run, name, facts[name])
        if not self._draws:
            rules: Counter[str] = Counter()
            for kind, count in self._run.left.items():
                rules[kind.rule] += count
            told = ", ".join(f"{count} {rule}" for rule, count in rules.most_common())
            self._line(f"{self._run.total} jobs: {told}")

    def _expected(self, facts: Facts) -> None:
        self._run.expected_s = facts["expected_s"]
        if not self._draws:
            self._tell_study()

    def _job_info(self, facts: Facts) -> None:
        if not facts["log"]:  # it collects what others made
            return
        self._open()
        log = facts["log"][0]
        wildcards = {key: str(value) for key, value in facts["wildcards"].items()}
        again = facts["jobid"] in self._run.failed
        job = self._run.begin(facts["jobid"], facts["rule_name"], job_name(log), wildcards)
        if not self._draws:
            self._say(job_line(job.name, "started again" if again else "started"))

    def _job_finished(self, facts: Facts) -> None:
        self._view.catch_up()
        job = self._run.finish(facts["job_id"])
        self._run.failed_cells += bool(job and _is_failed_cell(job.name))
        if job and not self._draws:
            self._say(job_line(job.name, f"done in {told_time(job.elapsed_s())}"))
            self._tell_study()

    def _job_error(self, facts: Facts) -> None:
        """The job itself said why, at Ctrl-C too, unless it was killed."""
        self._view.catch_up()
        job = self._run.fail(facts["jobid"])
        log = next(iter(facts.get("log") or []), "")
        name = job.name if job else job_name(log)
        last = _last_line(log)
        if not error_in(Path(log)):
            if not last.endswith(INTERRUPTED):
                before = f" (the last of {log}: {last})" if last else ""
                self._say(
                    job_line(name, f"{ERROR}it ended without a word{before}; {KILLED}"), "red"
                )
        elif not self._draws:
            self._say(job_line(name, f"ended without a result; see {log}"))

    def _error(self, facts: Facts) -> None:
        text = str(facts["msg"])
        told = SAID_BY_THE_JOB in text or (SAID_AT_THE_END in text and self._ended)
        if not told:
            self._say(text, "red")

    def _message(self, facts: Facts) -> None:
        text = str(facts["msg"])
        if text.startswith(NOTHING_TO_DO):
            text += " What it came to: llmpi status."
        if facts["msg"] is not None and text not in ("", "None") and not text.startswith(NOISE):
            self._say(text, "yellow" if facts["levelno"] >= logging.WARNING else "")

    def _end(self, facts: Facts) -> None:
        """The last that is said."""
        self._ended = True
        self._view.close()
        self._say(str(facts["msg"]))

    # --- where it goes ----------------------------------------------------------------------------

    def _open(self) -> None:
        """Draw from here on: before there are jobs there is nothing to draw."""
        if self._draws and isinstance(self._view, PlainView):
            from llmpi.terminal.live import LiveView

            self._view = LiveView(self._run)

    def _say(self, text: str, style: str = "") -> None:
        self._view.say(text, style)

    def _line(self, text: str) -> None:
        self._say(job_line(f"study/{self._run.study}", text))

    def _tell_study(self) -> None:
        now, run = time.monotonic(), self._run
        if now - self._told_at < STUDY_EVERY_S:
            return
        self._told_at = now
        failed = len(run.failed) + run.failed_cells
        told = [
            f"{run.done}/{run.total} jobs",
            f"{failed} failed" if failed else "",
            run.told_eta(),
        ]
        self._line(", ".join(filter(None, told)))


def can_draw() -> bool:
    """Whether stderr is a terminal on which a picture can be drawn over and over."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("", "dumb"):
        return False
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns >= NARROWEST
    return False


def _is_failed_cell(name: str) -> bool:
    """Whether what a job made is the record of a failed cell, which its log says."""
    with suppress(OSError):
        return f" ERROR {FAILED}" in Path(job_log(name)).read_text("utf-8", errors="replace")
    return False


def _last_line(log: str) -> str:
    """What a job said last; empty where it said nothing."""
    with suppress(OSError):
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else ""
    return ""
