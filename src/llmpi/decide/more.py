"""Where more items of a task would come from: the config's bound on them, if it has one."""

from collections.abc import Sequence

from llmpi.decide.records import Supply
from llmpi.quality.evidence import Requirement
from llmpi.study.study import Study


def supply(study: Study, requirements: Sequence[Requirement]) -> dict[str, Supply]:
    """By task. A bound that was not reached is none: all there are were asked."""
    found: dict[str, Supply] = {}
    for requirement in requirements:
        name, asked = requirement["task"], requirement["asked"]
        key = study.quality[name].BOUND
        bound = getattr(study.quality[name], key) if key else None
        reached = isinstance(bound, int) and asked >= bound
        found[name] = {
            "item": "question" if requirement["cluster"] == "passage" else requirement["cluster"],
            "asked": asked,
            "key": f"quality.{name}.{key}" if reached else None,
            "value": bound if reached else None,
        }
    return found
