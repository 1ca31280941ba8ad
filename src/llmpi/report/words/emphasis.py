"""What of many facts is told, in every language alike."""

from collections.abc import Sequence
from math import ceil, floor, log10

from llmpi.decide.candidates import CHECKS
from llmpi.decide.records import Change, CostPart, DeviceMoney, MovedLimit
from llmpi.quality.kinds import task_kinds

GIB = 1024**3


def scored_kinds() -> list[str]:
    """The kinds of quality tasks that have a score."""
    return [name for name, kind in task_kinds().items() if kind.score]


def foremost(changes: Sequence[Change]) -> list[Change]:
    """Every fault that hid a better one, and the smallest change of a constraint each way."""
    return [
        *(change for change in changes if change["change"] == "without"),
        *[change for change in changes if change["change"] == "relax"][:1],
        *[change for change in changes if change["change"] == "tighten"][:1],
    ]


def told_limit(change: MovedLimit) -> float:
    """The limit to ask for instead, in the three digits in which it is told."""
    scale = GIB if change["unit"] == "bytes" else 1
    return eased(change["to"] / scale, CHECKS[change["constraint"]].at_least) * scale


def eased(limit: float, at_least: bool) -> float:
    """A limit in three digits, rounded so that what it is to let in still keeps to it."""
    if not limit:
        return limit
    step = 10.0 ** (floor(log10(abs(limit))) - 2)
    return (floor if at_least else ceil)(round(limit / step, 9)) * step


def largest_part(found: DeviceMoney) -> tuple[CostPart, float]:
    """The part that costs most, and its share of the total, per cent."""
    part, value = max(found["parts"].items(), key=lambda item: item[1])
    return part, 100 * value / found["total"] if found["total"] else 0.0


def turning(found: DeviceMoney) -> list[str]:
    """The figures that change who is cheapest."""
    return [
        moved["assumption"]
        for moved in found["sensitivity"]
        if {moved["cheapest_at_low"], moved["cheapest_at_high"]} != {found["cheapest"]}
    ]
