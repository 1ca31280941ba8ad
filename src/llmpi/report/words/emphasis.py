"""What of many facts is told, in every language alike."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Literal

from llmpi.decide.records import (
    Aim,
    AnyCaution,
    BelowAbstaining,
    Candidate,
    Change,
    Check,
    Choice,
    CostPart,
    Decision,
    DeviceMoney,
    Interval,
    Limit,
    MoreItems,
    MovedLimit,
    RequirementVerdict,
    Step,
    Supply,
)
from llmpi.decide.values import CHECKS
from llmpi.engine.records import Machine
from llmpi.quality.kinds import task_kinds
from llmpi.study.computation import DEFAULT
from llmpi.study.decision import Hardware

MB = 1e6
ABLE: tuple[Literal["able"], Literal["near_best"], Literal["may_be_best"]] = (
    "able",
    "near_best",
    "may_be_best",
)
"""Who keeps to everything; of them, who is near the best in quality, and who may be it."""


def scored_kinds() -> list[str]:
    """The kinds of quality tasks that have a score."""
    return [name for name, kind in task_kinds().items() if kind.score]


def foremost(made: Decision) -> list[Change]:
    """Every fault that hid a better one, and the smallest change of a constraint each way; without
    what is provisional, of which more is said."""
    said = {made["pick"], made["smaller"] and made["smaller"]["id"]}
    changes = made["would_change"]
    return [
        *(c for c in changes if c["change"] == "without" and c["pick"] not in said),
        *[change for change in changes if change["change"] == "relax"][:1],
        *[change for change in changes if change["change"] == "tighten"][:1],
    ]


def unshown(pick: Candidate) -> dict[Limit, Check]:
    """The limits that the spread of its own numbers reaches beyond."""
    return {name: check for name, check in pick["checks"].items() if check["shown"] is False}


def is_pi(machine: Machine) -> bool:
    """Whether it is a Raspberry Pi."""
    return "Raspberry Pi" in (machine["board"] or "")


def below_abstaining(pick: Candidate) -> list[BelowAbstaining]:
    """That it scores less than who never answers."""
    return [caution for caution in pick["cautions"] if caution["kind"] == "below abstaining"]


def is_untested(choice: Choice) -> bool:
    """Whether nobody asked how well anything answers, so that nothing can be recommended."""
    return any(_says_untested(one) for c in choice["candidates"] for one in c["cautions"])


def said_first(pick: Candidate) -> list[AnyCaution]:
    """The cautions that are said before anything else."""
    return [*below_abstaining(pick), *filter(_says_untested, pick["cautions"])]


def _says_untested(found: AnyCaution) -> bool:
    return found["kind"] == "quality not asked for"


def side_by_side(one: Candidate, other: Candidate) -> dict[Aim, tuple[float, float]]:
    """What of two candidates can be compared beside quality; memory in MB."""
    pairs: dict[Aim, tuple[Interval | None, Interval | None]] = {
        "speed": (one["speed"], other["speed"]),
        "energy": (one["energy"], other["energy"]),
        "memory": (one["memory"], other["memory"]),
    }
    scale = {"memory": 1 / MB}
    return {
        name: (a["value"] * scale.get(name, 1), b["value"] * scale.get(name, 1))
        for name, (a, b) in pairs.items()
        if a and b and a["kind"] == b["kind"]
    }


def ends(found: RequirementVerdict) -> tuple[float, float, float] | None:
    """Estimate and bounds as people read them: of a gate the score itself."""
    value, low, high = found["loss"], found["low"], found["high"]
    if value is None or low is None or high is None:
        return None
    return (-value, -high, -low) if found["kind"] == "gate" else (value, low, high)


def variants_of(ids: Sequence[str], choice: Choice) -> list[str]:
    """What is scored of candidates, each once, by name: quality has no device."""
    several = len({candidate["model"] for candidate in choice["candidates"]}) > 1
    known = {c["id"]: scored_name(c, several_models=several) for c in choice["candidates"]}
    return list(dict.fromkeys(known[name] for name in ids))


def scored_name(found: Candidate, *, several_models: bool) -> str:
    """What has one score: a quantization, computed in one way."""
    model = f"{found['model']} " if several_models else ""
    how = f" ({found['computation']})" if found["computation"] != DEFAULT else ""
    return f"{model}{found['quant']}{how}"


def one_in_quality(step: Step, choice: Choice) -> bool:
    """Whether it left one variant, on several devices or in several settings."""
    return step["objective"] == "quality" and len(variants_of(step["left"], choice)) == 1


def upwards(items: int) -> int:
    """In two digits, not fewer: a promise about a chance."""
    step = 10 ** max(0, len(str(items)) - 2)
    return -(-items // step) * step


def enough(one: MoreItems, source: Supply) -> int:
    """What to set the key of a task to, for so many more items."""
    assert source["value"] is not None
    return ceil(source["value"] * (1 + upwards(one["items"]) / max(1, source["asked"])))


def told_limit(change: MovedLimit) -> float:
    """The limit to ask for instead, in the three digits in which it is told."""
    return eased(change["to"], CHECKS[change["constraint"]].at_least)


def eased(limit: float, at_least: bool) -> float:
    """A limit in three digits, rounded so that what it is to let in still keeps to it."""
    if not limit:
        return limit
    step = 10.0 ** (floor(log10(abs(limit))) - 2)
    return (floor if at_least else ceil)(round(limit / step, 9)) * step


def whose(assumption: str) -> tuple[str | None, str]:
    """The alternative that a figure of the money is of, None of the own boards; and its key."""
    own = assumption.removeprefix("alternatives.")
    key = own.rpartition(".")[2]
    part = f"hardware.{key}" if key in Hardware.model_fields else key
    return (own.removesuffix(part).removesuffix(".") or None) if own != assumption else None, part


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
