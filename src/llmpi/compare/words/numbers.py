"""What of a comparison is the same in every language."""

from collections.abc import Iterator

from llmpi.compare.records import Figure, PairedCell, QualityChange, When
from llmpi.engine.records import Mark
from llmpi.study.computation import DEFAULT


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def change(figure: Figure, to: str) -> str:
    """Per cent, with its interval."""
    return f"{figure['change_pct']:+.1f} %{span(figure['low_pct'], figure['high_pct'], to)}"


def lost(score: QualityChange, to: str) -> str:
    """Points, with their interval."""
    return f"{score['loss_points']:+.1f}{span(score['low_points'], score['high_points'], to)}"


def span(low: float | None, high: float | None, to: str) -> str:
    """An interval behind its value; nothing where there is none."""
    return "" if low is None or high is None else f" ({low:+.1f}{to}{high:+.1f})"


def marks_of(cell: PairedCell) -> Iterator[tuple[When, Mark]]:
    """Of both studies."""
    yield from (("before", mark) for mark in cell["marks"]["before"])
    yield from (("after", mark) for mark in cell["marks"]["after"])


def score_name(score: QualityChange) -> str:
    return f"{score['task']} {score['metric']}"


def variant_name(score: QualityChange) -> str:
    how = "" if score["computation"] == DEFAULT else f" ({score['computation']})"
    return f"{score['model']} {score['quant']}{how}"
