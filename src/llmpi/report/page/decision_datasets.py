"""Data sets of what follows from the cells: predictions, paper, choice, money."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from llmpi.decide.candidates import OBJECTIVES
from llmpi.decide.records import Candidate, CostPart, DeviceMoney, Limit, Moved
from llmpi.report.page.content import Content
from llmpi.report.page.paper_section import correspondences
from llmpi.report.words.emphasis import MB
from llmpi.study.decision import Aim


class PredictedPoint(TypedDict):
    """tg of a cell as predicted and as measured, tokens/s."""

    id: str
    cell: str
    device: str
    verdict: str
    predicted_low: float
    predicted_value: float
    predicted_high: float
    measured_low: float
    measured_value: float
    measured_high: float


def predicted_points(content: Content) -> list[PredictedPoint]:
    """Of the cells that have both."""
    found: list[PredictedPoint] = []
    for cell in content.summary["predictions"]:
        predicted = cell["predicted"] and cell["predicted"]["tg_tps"]
        measured = cell["measured"]["tg_tps"]
        if predicted and measured:
            found.append(
                {
                    "id": content.shown_id(cell),
                    "cell": content.name(cell),
                    "device": cell["device"],
                    "verdict": cell["verdict"],
                    "predicted_low": predicted["low"],
                    "predicted_value": predicted["value"],
                    "predicted_high": predicted["high"],
                    "measured_low": measured["low"],
                    "measured_value": measured["value"],
                    "measured_high": measured["high"],
                }
            )
    return found


class PaperDot(TypedDict):
    """tg of the paper's point, or of the cell that corresponds to it."""

    name: str
    ratio: float | None
    """Ours / the paper's."""
    who: Literal["paper", "ours"]
    tg_tps: float
    id: NotRequired[str]
    """Of our cell."""


def paper_dots(content: Content) -> list[PaperDot]:
    """Two for each pair that corresponds."""
    found: list[PaperDot] = []
    for pair in correspondences(content):
        name, ratio = pair.name, pair.ratios["tg_tps"]
        theirs, ours = pair.paper["tg_tps"], pair.ours["tg_tps"]
        if ours is None:
            continue
        where = content.shown_id(pair.cell)
        found += [
            {"name": name, "ratio": ratio, "who": "paper", "tg_tps": theirs},
            {"name": name, "ratio": ratio, "who": "ours", "tg_tps": ours, "id": where},
        ]
    return found


class ChoicePoint(TypedDict):
    """A candidate's number in one objective, in the unit of the chart's panel."""

    id: str
    name: str
    role: Literal["pick", "other"]
    objective: Aim
    limit: float | None
    value: float
    low: float | None
    high: float | None


LIMITS: Mapping[Aim, tuple[Limit, float]] = {
    "speed": ("tps_at_least", 1.0),
    "energy": ("j_per_token_at_most", 1.0),
    "memory": ("memory_at_most", 1 / MB),
}
"""The constraint of an objective, and the scale in which both are shown."""
MOST_SHOWN = 8


def choice_points(content: Content) -> list[ChoicePoint]:
    """The pick, the runner-up and the front (or, without a pick, the nearest), by objective."""
    if content.recommendation is None:
        return []
    overall = content.recommendation["decisions"][0]
    ids = [overall["pick"], overall["runner_up"], overall["nearest"], *overall["front"]]
    known = {candidate["id"]: candidate for candidate in content.candidates}
    chosen = [known[i] for i in dict.fromkeys(ids) if i][:MOST_SHOWN]
    several = len({candidate["device"] for candidate in content.candidates}) > 1
    return [
        point
        for candidate in chosen
        for point in _choice_points(candidate, content, overall["pick"], several)
    ]


def _choice_points(
    candidate: Candidate, content: Content, pick: str | None, several: bool
) -> Iterator[ChoicePoint]:
    assert content.recommendation
    for objective in OBJECTIVES:
        if (number := candidate[objective]) is None:
            continue
        limit, scale = None, 1.0
        if objective in LIMITS:
            key, scale = LIMITS[objective]
            asked = content.recommendation["constraints"].get(key)
            limit = None if asked is None else asked * scale
        low, high = number["low"], number["high"]
        device = f", {candidate['device']}" if several else ""
        yield {
            "id": f"{candidate['id']}/{content.recommendation['workload']}",
            "name": f"{candidate['variant']}{device}",
            "role": "pick" if candidate["id"] == pick else "other",
            "objective": objective,
            "limit": limit,
            "value": number["value"] * scale,
            "low": None if low is None else low * scale,
            "high": None if high is None else high * scale,
        }


class Bar(TypedDict):
    """A part of what a million tokens cost."""

    device: str
    what: str
    part: CostPart | Literal["whole"]
    per_million_tokens: float
    place: int


def bars(priced: Sequence[DeviceMoney]) -> list[Bar]:
    """A device's own cost by parts, the alternatives' as a whole."""
    found: list[Bar] = []
    for money in priced:
        device = money["device"]
        parts: list[tuple[str, CostPart | Literal["whole"], float]] = [
            (device, part, value) for part, value in money["parts_per_million_tokens"].items()
        ]
        for name, other in money["alternatives"].items():
            parts.append((name, "whole", other["per_million_tokens"]))
        found += [
            {"device": device, "what": what, "part": part, "per_million_tokens": v, "place": i}
            for i, (what, part, v) in enumerate(parts)
        ]
    return found


class Swing(Moved):
    """What a figure moves on a device, whose result stands at `now`."""

    device: str
    now: float


MOST_FIGURES = 12


def swings(priced: Sequence[DeviceMoney]) -> list[Swing]:
    return [
        {"device": money["device"], "now": money["per_million_tokens"], **moved}
        for money in priced
        for moved in money["sensitivity"][:MOST_FIGURES]
    ]
