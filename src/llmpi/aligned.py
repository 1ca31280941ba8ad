"""Tables on a terminal."""

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
