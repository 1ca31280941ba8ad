"""Choose: what to take, per device and overall, and what it costs."""

from pathlib import Path

from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.records import Record, write_json
from llmpi.script import run
from llmpi.study.decision import Constraints, Cost


def main(
    *, summary: Record, constraints: Constraints | None, cost: Cost | None, recommendation: Path
) -> None:
    summary["rows"] = summary["classes"]  # equal boards are one choice
    chosen = recommend(summary, constraints or Constraints())
    money = costs(summary, cost, chosen) if cost else None
    write_json(recommendation, {**chosen, "money": money})


if __name__ == "__main__":
    run(main)
