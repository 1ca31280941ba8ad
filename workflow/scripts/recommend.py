"""Choose: what to take, per device and overall, and what it costs."""

from pathlib import Path

from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.quality.evidence import Requirements
from llmpi.records import write_json
from llmpi.script import run
from llmpi.study.decision import Constraints, Cost
from llmpi.summary.records import Summary


def main(
    *,
    summary: Summary,
    requirements: Requirements,
    constraints: Constraints | None,
    cost: Cost | None,
    recommendation: Path,
) -> None:
    choice = recommend(summary, requirements, constraints or Constraints())
    money = costs(summary, cost, choice) if cost else None
    write_json(recommendation, {**choice, "money": money})


if __name__ == "__main__":
    run(main)
