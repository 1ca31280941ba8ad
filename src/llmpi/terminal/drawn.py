"""A run as one picture: how far it is, what runs, what each board does."""

import re
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from llmpi.terminal.run_state import Job, Run, told_time

DEGREES = re.compile(r"-?\d+(?:\.\d+)? °C")
WATTS = re.compile(r"\b\d+(?:\.\d+)? W\b")
NARROW = 100
"""Columns below which bars are short."""
CHROME = 4
"""Lines that are no jobs': the head, the title of the boards, one for what is not shown."""


def drawn(run: Run, width: int, height: int) -> RenderableType:
    """The picture, no higher than the terminal."""
    jobs = list(run.running.values())
    boards = [(name, _on(jobs, name)) for name in run.devices]
    room = max(1, height - CHROME)
    shown = jobs[: max(1, room - min(len(boards), room // 2))]
    parts: list[RenderableType] = [_head(run, width), _table(shown, width)]
    if len(jobs) > len(shown):
        parts.append(Text(f"  and {len(jobs) - len(shown)} more", style="dim"))
    left = room - len(shown)
    if boards and left > 0:
        # Those that do something first: of fifty boards not all find room.
        busy_first = sorted(boards, key=lambda board: board[1] is None)
        parts.append(_boards(busy_first[:left], len(boards)))
    return Group(*parts)


def _head(run: Run, width: int) -> RenderableType:
    table = _grid()
    table.add_column(no_wrap=True)
    table.add_column(width=_bar_width(width))
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    text = Text(f"{run.done} of {run.total} jobs", style="bold")
    if failed := len(run.failed) + run.failed_cells:
        text.append(f", {failed} failed", style="bold red")
    text.append(f", {told_time(run.elapsed_s())} so far", style="dim")
    if eta := run.told_eta():
        text.append(f", {eta}")
    table.add_row(Text(run.study, style="bold"), _bar(run.done, run.total, width), text)
    return table


def _table(jobs: list[Job], width: int) -> RenderableType:
    table = _grid()
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(12, width // 3))
    table.add_column(width=_bar_width(width))
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for job in jobs:
        step = job.step
        bar = _bar(step.done, step.total, width) if step else Text("")
        table.add_row(what(job), which(job), bar, job.said or told_time(job.elapsed_s()))
    return table


def _boards(boards: list[tuple[str, Job | None]], there_are: int) -> RenderableType:
    table = _grid()
    table.add_column(no_wrap=True, style="magenta")
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for name, job in boards:
        doing = f"{what(job)} {which(job)}" if job else "idle"
        felt = ", ".join(_felt(job)) if job else ""
        table.add_row(name, Text(doing, style="" if job else "dim"), felt)
    title = f"boards ({len(boards)} of {there_are})" if len(boards) < there_are else "boards"
    return Group(Text(title, style="dim"), table)


def _felt(job: Job) -> Iterator[str]:
    """How warm it is, and what it takes, where it says so."""
    for pattern in (DEGREES, WATTS):
        if found := pattern.search(job.said):
            yield found[0]


def what(job: Job) -> str:
    """A rule's first word tells what it does."""
    return job.kind.rule.partition("_")[0]


def which(job: Job) -> str:
    """What it is done with: model, type, board, task; what all jobs share is not said."""
    wildcards = dict(job.wildcards)
    first = [wildcards.pop(key, "") for key in ("model", "quant", "device", "task")]
    usual = {"study": "", "runtime": "default", "computation": "f16"}
    rest = [v for k, v in wildcards.items() if k != "study" and v != usual.get(k)]
    return " ".join(filter(None, [*first, *rest]))


def _on(jobs: list[Job], device: str) -> Job | None:
    return next((job for job in jobs if job.kind.device == device), None)


def _grid() -> Table:
    return Table.grid(padding=(0, 1), expand=True)


def _bar_width(width: int) -> int:
    return 8 if width < NARROW else 24


def _bar(done: int, total: int, width: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done, width=_bar_width(width))
