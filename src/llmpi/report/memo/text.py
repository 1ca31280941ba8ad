"""A memo as Markdown, out of a template of prose for each language."""

import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmpi.engine.shown import visible
from llmpi.report.memo.facts import Memo
from llmpi.report.words.languages import WORDS
from llmpi.report.words.numbers import grouped, size
from llmpi.study.study import Language

HERE = Path(__file__).parent
WORDS_READ_PER_S = 4.0
"""What a person reads silently: 238 words a minute of English (Brysbaert, *How many words do we
read per minute?*, Journal of Memory and Language 109, 2019)."""


def render(facts: Memo, language: Language) -> str:
    """The memo in a language.

    Returns:
        Markdown, a paragraph, a point or a row of the table on each line. What comes from outside
        cannot be taken for markup.
    """
    text = (
        _environment()
        .get_template(f"{language}.md.jinja")
        .render(
            _escaped(facts),
            day=date.fromisoformat(facts["date"]),
            words_read_per_s=WORDS_READ_PER_S,
            assumption=WORDS[language].assumption,
            cost_unit=WORDS[language].cost_unit,
        )
    )
    joint = "" if language == "ja" else " "
    blocks = [block for block in re.split(r"\n\s*\n", text) if block.strip()]
    return "\n\n".join("\n".join(_lines(block, joint)) for block in blocks) + "\n"


@cache
def _environment() -> Environment:
    """One for all memos: it compiles each template once."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=False,  # noqa: S701 (it is Markdown, and `_escaped` first)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=grouped,
    )
    environment.filters.update(
        figure=figure, whole=whole, size=size, money=money, odds=odds, rough=rough, grouped=grouped
    )
    return environment


def _escaped(value: object) -> object:
    """Without Markdown's own characters in any text; ids and the names of types have none."""
    if isinstance(value, str):
        line = " ".join(visible(value).split())
        return re.sub(r"[\\`*<>\[\]|#]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)
    if isinstance(value, dict):
        return {key: _escaped(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(part) for part in value]
    return value


def _lines(block: str, joint: str) -> Iterator[str]:
    """A paragraph as one line; of a list each point, of a table each row."""
    line = ""
    for part in (part.strip() for part in block.splitlines()):
        if line and re.match(r"- |\d\. |\|", part):
            yield line
            line = part
        else:
            # Behind bold text a space, or CommonMark does not see its end after a full stop.
            between = " " if line.endswith("**") else joint
            line = f"{line}{between}{part}" if line else part
    yield re.sub(r"  +", " ", line)


def figure(value: float) -> str:
    """A number in three digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def rough(value: float) -> str:
    """An estimate: no digits behind the point where there are two before it."""
    return whole(value) if value >= 10 else f"{value:.2g}"


def whole(value: float) -> str:
    return f"{value + 0.0:,.0f}"


def odds(pct: float) -> str:
    """A probability, which is never quite 0 or 1."""
    return f"{min(99.0, max(1.0, pct)):.0f} %"


def money(value: float) -> str:
    """A price: cents below a hundred."""
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
