"""Tables and sentences on a terminal."""

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], texts: Collection[int] = (0,)) -> list[str]:
    """A line for each row, its columns below one another.

    Args:
        rows: all of as many columns; at least one.
        texts: the columns that begin below one another; the others, numbers, end so.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at in texts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def in_width(text: str) -> str:
    """A text whose sentences are broken between words where a terminal would break them within
    one; tables, whose columns two blanks part, and what goes into a pipe stay as they are."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(
        line if len(line) <= width or "  " in line.strip() else _broken(line, width)
        for line in text.split("\n")
    )


def _broken(line: str, width: int) -> str:
    wrapped = textwrap.TextWrapper(width, subsequent_indent="  ")
    wrapped.break_on_hyphens = wrapped.break_long_words = False
    return "\n".join(wrapped.wrap(line))
