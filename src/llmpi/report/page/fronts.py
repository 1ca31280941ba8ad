"""What nothing else in a chart beats in both of its quantities, see `llmpi.decide.pareto`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

from llmpi.decide.candidates import faults
from llmpi.decide.pareto import Field, Objective
from llmpi.decide.scores import number
from llmpi.decide.values import half_of_answers, speed
from llmpi.layout import BASE_QUANT
from llmpi.quality.kind import Score, Shown, Value
from llmpi.report.page.content import Content, cell_id
from llmpi.study.runs import Scored
from llmpi.summary.estimate import Z95, Estimate
from llmpi.summary.records import ClassRow

BROKEN = {"babbling", "mute", "blurting"}
"""Faults of a file that answers, and says nothing of use."""

Point = dict[str, Value]
"""Of the chart of a kind of quality tasks."""

ENDS: tuple[Literal["low"], Literal["high"]] = ("low", "high")

FAST = Objective[ClassRow]("speed", True, speed)


def cell_fronts(content: Content) -> Iterator[tuple[str, dict[str, set[str]], set[str]]]:
    """For each task with a score or a loss the cells that nothing beats, and those that are broken.

    On each device and workload apart, and by a loss each model: it is against the model's own
    reference. Quality counts, and the speed (`front`) or what half of the answers take
    (`answer_front`).
    """
    for task, quality in _qualities(content):
        fronts: dict[str, set[str]] = {"front": set(), "answer_front": set()}
        broken: set[str] = set()
        places: dict[tuple[str, ...], list[ClassRow]] = {}
        for row in content.rows:
            found = faults(row, content.study, task)
            if any(fault["kind"] in BROKEN for fault in found):
                broken.add(cell_id(row))
            if not found and quality.of(row):
                own = (row["model"],) if task in content.losses else ()
                places.setdefault((row["device"], row["workload"], *own), []).append(row)
        for here in places.values():
            for name, other in (("front", FAST), ("answer_front", _soon(task))):
                known = [row for row in here if other.of(row)]
                front = Field(known, [quality, other]).front(known) if known else []
                fronts[name] |= {cell_id(row) for row in front}
        yield task, fronts, broken


def _qualities(content: Content) -> Iterator[tuple[str, Objective[ClassRow]]]:
    for task, score in content.scores.items():
        yield task, _good(task, score)
    for task, loss in content.losses.items():
        yield task, _near(task, loss)


def _good(task: str, score: Score) -> Objective[ClassRow]:
    return Objective("quality", True, lambda row: estimate(score.value, partial(number, row, task)))


def _near(task: str, loss: Shown) -> Objective[ClassRow]:
    return Objective("quality", False, lambda row: lost(row, task, loss))


def _soon(task: str) -> Objective[ClassRow]:
    return Objective("speed", False, lambda row: half_of_answers(row, task))


def lost(row: ClassRow, task: str, loss: Shown) -> Estimate | None:
    """A loss with its 95 %; None of the reference, whose loss is 0 but for rounding, and of who
    loses nothing: a logarithmic axis has no place for it."""
    scored = Scored(row["model"], row["quant"], row["computation"])
    found = estimate(loss, partial(number, row, task))
    is_drawn = found and found.value > 0 and scored != Scored(row["model"], BASE_QUANT)
    return found if is_drawn else None


def estimate(shown: Shown, of: Callable[[str], float | None]) -> Estimate | None:
    """A value with its 95 %, by the keys of its ends or of its standard error.

    Args:
        of: what stands under a key.
    """
    value = of(shown["key"])
    if value is None:
        return None
    if "error" in shown:
        spread = Z95 * (of(shown["error"]) or 0.0)
        return Estimate(value, value - spread, value + spread)
    low, high = (of(shown[end]) if end in shown else None for end in ENDS)
    return Estimate(value, low, high)


def estimate_of(point: Point, shown: Shown) -> Estimate | None:
    """The same of a chart's point."""
    return estimate(shown, partial(_number, point))


def least_losses(points: Sequence[Point], loss: Shown) -> list[Point]:
    """Of points with `bits_per_weight`, those that none of their model beats in both."""
    size = Objective[Point]("memory", False, lambda point: _exact(point["bits_per_weight"]))
    quality = Objective[Point]("quality", False, lambda point: estimate_of(point, loss))
    found = []
    for model in dict.fromkeys(point["model"] for point in points):
        own = [p for p in points if p["model"] == model and p["bits_per_weight"] is not None]
        found += Field(own, [quality, size]).front(own) if own else []
    return found


def _exact(value: Value) -> Estimate:
    assert isinstance(value, int | float)
    return Estimate(value, value, value)


def _number(point: Point, key: str) -> float | None:
    value = point[key]
    assert isinstance(value, int | float | None), key
    return value
