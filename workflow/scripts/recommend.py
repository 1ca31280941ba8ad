"""Choose: what to take, per device and overall, and what it costs."""

from pathlib import Path

from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.records import read_json, write_json
from llmpi.script import job
from llmpi.study.decision import Constraints, Cost


def main(*, summary: Path, constraints: dict | None, cost: dict | None, out: Path) -> None:
    record = read_json(summary)
    record["rows"] = record["classes"]  # equal boards are one choice
    chosen = recommend(record, Constraints.model_validate(constraints or {}))
    money = costs(record, Cost.model_validate(cost), chosen) if cost else None
    write_json(out, {**chosen, "money": money})


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            summary=Path(snakemake.input.summary),
            constraints=snakemake.params.constraints,
            cost=snakemake.params.cost,
            out=Path(snakemake.output.recommendation),
        )
