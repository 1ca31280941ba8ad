"""A comparison as a page: one file, no network, no script."""

from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmpi.compare.records import Comparison, Figure, PairedCell
from llmpi.compare.text import (
    conditions,
    figure_row,
    headline,
    score_row,
    unpaired_line,
    verdicts,
)
from llmpi.engine.shown import visible
from llmpi.records import whole_file
from llmpi.report.page.body import TEMPLATES

MIDDLE, HALF = 100.0, 95.0
"""Of a drawn interval: where no change lies, and how far it may reach."""


class Drawn(NamedTuple):
    """A row of the table, and the places of its interval."""

    figure: Figure
    texts: tuple[str, ...]
    at: float
    low: float | None
    high: float | None


def write_page(found: Comparison, out: Path) -> None:
    """Draw a comparison into `out`, atomically. What comes from outside is escaped."""
    figures = [figure for cell in found["cells"] for figure in cell["figures"]]
    reach = max((_reach(figure) for figure in figures), default=1.0) or 1.0
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html").render(
        found=found,
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        headline=headline(found),
        verdicts=[*verdicts(found)],
        reach=reach,
        rows=[_drawn(cell, f, reach) for cell in found["cells"] for f in cell["figures"]],
        scores=[*map(score_row, found["quality"])],
        conditions=[*conditions(found)],
        unpaired=[unpaired_line(one) for one in found["unpaired"] if one["state"] != "fails now"],
    )
    with whole_file(out) as partial:
        partial.write_text(visible(html), encoding="utf-8")


def _reach(figure: Figure) -> float:
    """The farthest from no change, per cent."""
    ends = (figure["change_pct"], figure["low_pct"], figure["high_pct"])
    return max(abs(end) for end in ends if end is not None)


def _drawn(cell: PairedCell, figure: Figure, reach: float) -> Drawn:
    def place(pct: float) -> float:
        return round(MIDDLE + HALF * pct / reach, 1)

    low, high = figure["low_pct"], figure["high_pct"]
    return Drawn(
        figure,
        figure_row(cell, figure),
        place(figure["change_pct"]),
        None if low is None else place(low),
        None if high is None else place(high),
    )
