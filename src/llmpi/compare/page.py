"""A comparison as a page: one file, no network, in each language."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmpi.compare.records import Comparison, Figure, PairedCell
from llmpi.compare.words.languages import WORDS, Words
from llmpi.crate.redact import Redaction, names_here, redacted
from llmpi.engine.shown import visible
from llmpi.records import whole_file
from llmpi.report.page.body import TEMPLATES
from llmpi.report.page.policy import policy
from llmpi.report.words.texts import NAMES
from llmpi.study.study import Language

HERE = Path(__file__).parent
MIDDLE, HALF = 100.0, 95.0
"""Of a drawn interval: where no change lies, and how far it may reach."""


class Drawn(NamedTuple):
    """A row of the table, and the places of its interval."""

    figure: Figure
    texts: tuple[str, ...]
    at: float
    low: float | None
    high: float | None


class Body(NamedTuple):
    """What the page says in a language."""

    language: Language
    title: str
    headline: str
    verdicts: Sequence[str]
    sections: tuple[str, str, str]
    cells: Sequence[str]
    """The heads of the cells' table."""
    reach: str
    rows: Sequence[Drawn]
    score_heads: Sequence[str]
    scores: Sequence[Sequence[str]]
    conditions: Sequence[str]
    explained: str


def write_page(found: Comparison, out: Path) -> None:
    """Draw a comparison into `out`, atomically.

    It is for others, too: hosts, users and folders in its texts have stand-ins. What comes from
    outside is escaped; the page's policy runs no script but its own, and loads nothing.
    """
    bare = Redaction({}, [], names_here())
    found = redacted(Comparison, json.dumps(found).encode(), bare)
    environment = Environment(
        loader=FileSystemLoader([HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "page.js").read_text(encoding="utf-8")
    html = environment.get_template("page.html").render(
        found=found,
        names=NAMES,
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=script,
        policy=policy([script]),
        bodies=[_body(language, words, found) for language, words in WORDS.items()],
    )
    with whole_file(out) as partial:
        partial.write_text(visible(html), encoding="utf-8")


def _body(language: Language, words: Words, found: Comparison) -> Body:
    figures = [figure for cell in found["cells"] for figure in cell["figures"]]
    reach = max((_reach(figure) for figure in figures), default=1.0) or 1.0
    unpaired = [one for one in found["unpaired"] if one["state"] != "fails now"]
    return Body(
        language=language,
        title=words.title(found),
        headline=words.headline(found),
        verdicts=[*words.verdicts(found)],
        sections=words.sections(),
        cells=words.CELLS,
        reach=words.reach(reach),
        rows=[_drawn(words, cell, f, reach) for cell in found["cells"] for f in cell["figures"]],
        score_heads=words.SCORES,
        scores=[*map(words.score_row, found["quality"])],
        conditions=[*words.conditions(found), *map(words.unpaired_line, unpaired)],
        explained=words.explained(found),
    )


def _reach(figure: Figure) -> float:
    """The farthest from no change, per cent."""
    ends = (figure["change_pct"], figure["low_pct"], figure["high_pct"])
    return max(abs(end) for end in ends if end is not None)


def _drawn(words: Words, cell: PairedCell, figure: Figure, reach: float) -> Drawn:
    def place(pct: float) -> float:
        return round(MIDDLE + HALF * pct / reach, 1)

    low, high = figure["low_pct"], figure["high_pct"]
    return Drawn(
        figure,
        words.figure_row(cell, figure),
        place(figure["change_pct"]),
        None if low is None else place(low),
        None if high is None else place(high),
    )
