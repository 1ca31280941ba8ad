"""What the questions of a study can tell, for a terminal and for machines."""

from collections.abc import Iterator, Sequence
from math import ceil

from llmpi.aligned import aligned
from llmpi.decide.beforehand import CHANGED, USUAL, Ahead
from llmpi.decide.joint import FEWEST_CLUSTERS
from llmpi.quality.records import Json
from llmpi.report.words.emphasis import upwards

ITEMS = {"passage": "questions", "prompt": "prompts"}
"""What a cluster's items are called; of others, as the cluster is."""
HEAD = (
    *("task", "must not lose", "asked", "margin"),
    *(f"if {100 * changed:g} % change" for changed in CHANGED),
    "tells at",
)
LEGEND = (
    "If so many answers of a quantization come out otherwise than its reference's, half of them",
    "for the better, about so many asked show, four times in five, that no more is lost than the",
    f"margin. Tells at: the margin for which those there are suffice, if {100 * USUAL:g} % change.",
)


def told(found: Sequence[Ahead]) -> Iterator[str]:
    """Lines; none where nothing is known of any task's questions."""
    if not found:
        return
    yield "What the questions can tell, before anything is measured"
    yield from (f"  {line}" for line in aligned([HEAD, *map(_row, found)], texts=(0, 1)))
    yield from LEGEND
    for one in found:
        if short := _short(one):
            yield f"! {short}"


def as_data(found: Sequence[Ahead]) -> list[Json]:
    """For JSON; of `needed` by the share of changed answers."""
    return [
        {**one._asdict(), "needed": {f"{k:g}": n for k, n in one.needed.items()}} for one in found
    ]


def _row(one: Ahead) -> tuple[str, ...]:
    return (
        one.task,
        one.metric,
        f"{one.items:,}",
        f"{one.margin:g}",
        *(_about(one.needed[changed]) for changed in CHANGED),
        "-" if one.margin_told is None else _margin(one.margin_told),
    )


def _about(items: int | None) -> str:
    return "-" if items is None else f"{upwards(items):,}"


def _margin(points: float) -> str:
    """Upwards to half a point: with the margin that is told, they suffice."""
    return f"{ceil(2 * points) / 2:g}"


def _short(one: Ahead) -> str | None:
    """What is missing, in a user's words."""
    name, items = f"{one.task}, {one.metric}", ITEMS.get(one.cluster, f"{one.cluster}s")
    if one.clusters < FEWEST_CLUSTERS:
        return (
            f"{name}: {one.clusters} {one.cluster}{'s' * (one.clusters != 1)} can tell nothing; "
            f"below {FEWEST_CLUSTERS} no variant is said to hold or to fail."
        )
    needed = one.needed[USUAL]
    if needed is None or needed <= one.items:
        return None
    least, changed = one.needed[CHANGED[0]], f"{100 * USUAL:g} %"
    none_can = least is None or least > one.items
    where = (
        "hardly even where no answer changes"
        if none_can
        else f"only where fewer than {changed} change"
    )
    return (
        f"{name}: {one.items:,} {items} show that no more than {one.margin:g} points are lost "
        f"{where}; about {upwards(needed - one.items):,} more would where {changed} of the answers "
        f"change, or put up with {_margin(one.margin_told or 100)} points."
    )
