"""A comparison for a terminal: the regressions, then all of it, worst first; and as JSON."""

import json

from llmpi.aligned import aligned
from llmpi.compare.records import Comparison
from llmpi.compare.words.english import (
    CELLS,
    SCORES,
    conditions,
    figure_row,
    headline,
    score_row,
    unpaired_line,
    verdicts,
)

UNSAID = ("figure", "unit", "verdict")
"""Heads of columns that explain themselves."""


def as_json(found: Comparison) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False)


def as_text(found: Comparison) -> str:
    """The comparison for a terminal."""
    rows = [figure_row(cell, figure) for cell in found["cells"] for figure in cell["figures"]]
    scores = [*map(score_row, found["quality"])]
    regressions = "! " if found["regressions"] or not found["judged"] else ""
    blocks: list[list[str]] = [
        [headline(found), *(f"{regressions}{line}" for line in verdicts(found))],
        aligned([_heads(CELLS), *rows], texts=(0, 1, 4, 6)) if rows else [],
        aligned([_heads(SCORES), *scores], texts=(0, 1, 5)) if scores else [],
        [*conditions(found)],
        [unpaired_line(one) for one in found["unpaired"] if one["state"] != "fails now"],
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _heads(titles: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("" if title in UNSAID else title for title in titles)
