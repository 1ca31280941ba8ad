"""A study's state, kind of job by kind of job, and what failed in it by name."""

from collections import Counter
from collections.abc import Iterator, Sequence

from llmpi.aligned import aligned
from llmpi.terminal.commands import snakemake
from llmpi.terminal.disk import RULES, STATES, Cell, origin

ALWAYS = ("done", "failed", "waiting")
"""The columns that are there, with nothing in them too."""


def table(cells: Sequence[Cell]) -> list[str]:
    """A row for each kind of job that the study has."""
    counts = {kind: Counter(c.state for c in cells if c.asked.kind == kind) for kind in RULES}
    there = {state for found in counts.values() for state in found}
    states = [state for state in STATES if state in there.union(ALWAYS)]
    rows = [("", *states, "of")]
    for kind, found in counts.items():
        if found:
            rows.append((kind, *(str(found[s] or "-") for s in states), str(found.total())))
    return aligned(rows)


def marked(cells: Sequence[Cell]) -> Iterator[str]:
    """What was measured and is not to be compared with the rest, by its mark."""
    by_mark: dict[str, list[str]] = {}
    for cell in cells:
        for mark in cell.marks:
            by_mark.setdefault(mark, []).append(cell.asked.name)
    for mark, names in by_mark.items():
        yield f"{mark}: {', '.join(names)}"


def failures(cells: Sequence[Cell], config: str) -> Iterator[str]:
    """What failed, by name; a reason once: what rests on a cell fails with it."""
    by_reason: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.state == "failed":
            by_reason.setdefault(cell.reason, []).append(cell)
    for reason, same in by_reason.items():
        yield f"failed: {', '.join(map(named, same))}"
        yield f"  {reason or 'it does not say why'}"
        yield f"  {again(same[0], config)}"


def named(cell: Cell) -> str:
    """A cell by its name, and by its step where that is not the measurement."""
    name, kind = cell.asked.name, cell.asked.kind
    return name if kind == "measured" else f"{name} ({kind})"


def again(cell: Cell, config: str) -> str:
    """How a failed cell is tried again: a result stays until it is asked for anew."""
    if cell.recorded:
        return f"again: {snakemake(config, '--forcerun', origin(cell))}"
    return f"again: {snakemake(config)}"
