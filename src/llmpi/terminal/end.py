"""What a study came to, in five lines at most, from its records."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llmpi import layout
from llmpi.decide.records import Candidate, Decision, Recommendation
from llmpi.records import RecordError, read
from llmpi.report.words import english
from llmpi.report.words.numbers import digits
from llmpi.study.study import Study
from llmpi.terminal.commands import llmpi, snakemake
from llmpi.terminal.disk import Cell
from llmpi.terminal.status import again, named

STAGES = {
    "models": "models",
    "files": "gguf",
    "deployed": "deployed",
    "measured": "measured",
    "scored": "scored",
}
"""Targets of the Snakefile, by kinds of cells."""


def end(study: Study, cells: Sequence[Cell], config: str) -> list[str]:
    """What was decided, what would settle it, where the page is, what failed, what to do next.

    Args:
        config: path of the study's config, for what to type.
    """
    made = _recommendation(study)
    page = Path(layout.at(layout.PAGE, study=study.study))
    since = " (older than what was measured since)" if _is_older(page, cells) else ""
    lines = [
        ("Decided", f"{_decided(made)}{since}" if made else f"nothing yet; {progress(cells)}"),
        _unsettled(made) if made else ("", ""),
        ("Page", f"{page}{since}" if page.is_file() else ""),
        ("Cells", _counted(cells)),
        ("Next", _next(study, cells, made if page.is_file() and not since else None, config)),
    ]
    return [f"{label:<11}{text}" for label, text in lines if text]


def _recommendation(study: Study) -> Recommendation | None:
    try:
        return read(Path(layout.at(layout.RECOMMENDATION, study=study.study)), Recommendation)
    except RecordError:
        return None


# --- what was decided -----------------------------------------------------------------------------


def _decided(made: Recommendation) -> str:
    overall, pick = _overall(made)
    if pick is None:
        return f"nothing can be recommended: none of {overall['candidates']} keeps to everything"
    now = ", for now" if overall["standing"] == "provisional" else ""
    return f"{pick['variant']} on {pick['device']}{now}: {_numbers(pick)}"


def _overall(made: Recommendation) -> tuple[Decision, Candidate | None]:
    overall = made["decisions"][0]
    return overall, _candidate(made, overall["pick"])


def _candidate(made: Recommendation, name: str | None) -> Candidate | None:
    return next((one for one in made["candidates"] if one["id"] == name), None)


def _numbers(pick: Candidate) -> str:
    found = [
        (pick["speed"], 1, "tokens/s"),
        (pick["quality"], 1, "% quality"),
        (pick["energy"], 1, "J per token"),
        (pick["memory"], 1e6, "MB"),
    ]
    return ", ".join(f"{digits(n['value'] / scale)} {unit}" for n, scale, unit in found if n)


def _unsettled(made: Recommendation) -> tuple[str, str]:
    """What would make a provisional choice a final one; what to know of one that is final."""
    overall, pick = _overall(made)
    if pick is None:
        return "Why", english.decision(overall, made)[1].rstrip(".")
    if overall["provisional_by"] == ["disturbed"]:
        return "To settle", "its speed: other programs ran while it was measured"
    if overall["standing"] == "provisional":
        smaller = overall["smaller"]
        other = _candidate(made, smaller["id"]) if smaller else None
        standing = pick["standing"]
        more = smaller["more"] if smaller else standing["more"] if standing else []
        which = f"{other['variant']} on {other['device']}" if other else "the pick itself"
        return "To settle", f"whether {which} holds: {english.more(more, made['supply'])}"
    return "But", "; ".join(alarm.rstrip(".") for alarm in english.alarms(pick))


# --- the page and the cells -----------------------------------------------------------------------


def _is_older(page: Path, cells: Sequence[Cell]) -> bool:
    """As Snakemake tells it: by the files' times."""
    if not page.is_file():
        return False
    drawn = page.stat().st_mtime
    kinds = ("report", "memos")
    files = (Path(c.asked.file) for c in cells if c.recorded and c.asked.kind not in kinds)
    return any(file.stat().st_mtime > drawn for file in files)


THERE = ("done", "skipped")


def progress(cells: Sequence[Cell]) -> str:
    """How much of what decides is there."""
    found = []
    for kind in ("measured", "scored"):
        own = [cell for cell in cells if cell.asked.kind == kind]
        if own:
            found.append(f"{sum(c.state in THERE for c in own)} of {len(own)} {kind}")
    return ", ".join(found)


def _counted(cells: Sequence[Cell]) -> str:
    """How many there are, and how many of them are no number to go by."""
    marks = Counter(mark for cell in cells for mark in cell.marks)
    failed = [cell for cell in cells if cell.state == "failed"]
    waiting = sum(cell.state == "waiting" for cell in cells)
    return "; ".join(
        [
            progress(cells),
            f"{len(failed)} failed" if failed else "none failed",
            *(f"{count} {mark}" for mark, count in marks.items()),
            *([f"files still to come: {waiting}"] if waiting else []),
        ]
    )


# --- what to do -----------------------------------------------------------------------------------


def _next(study: Study, cells: Sequence[Cell], made: Recommendation | None, config: str) -> str:
    """One thing; what failed before all else, the cell that others rest on first.

    Args:
        made: what was decided, of what there is now.
    """
    failed = [cell for cell in cells if cell.state == "failed"]
    if failed:
        others = len(failed) - 1
        more = f"; {others} more: {llmpi(config, 'status')}" if others else ""
        reason = failed[0].reason.rstrip(".")
        return f"{named(failed[0])} failed: {reason}; {again(failed[0], config)}{more}"
    if made is None:
        return f"the rest: {snakemake(config)}"
    if waiting := {cell.asked.kind for cell in cells if cell.state == "waiting"}:
        # What was deleted after the page was drawn is made again for its own sake alone.
        stages = [stage for kind, stage in STAGES.items() if kind in waiting]
        return f"the rest: {snakemake(config, targets=['all', *stages])}"
    overall, pick = _overall(made)
    if pick is None and overall["would_change"]:
        return "loosen what stands in the way, and run again: only what changed is redone"
    if pick is None:
        return "open the page: it says what stands against each"
    if "disturbed" in overall["provisional_by"]:
        command = snakemake(config, "--forcerun", "benchmark_device")
        return f"measure again while nothing else runs: {command}"
    if overall["standing"] == "provisional":
        return "ask as many questions as that takes, and run again: only what is new is done"
    if study.service:
        return f"serve it: {llmpi(config, 'service', 'install')}"
    return "open the page"
