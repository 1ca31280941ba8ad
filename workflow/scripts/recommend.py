"""Choose: what to take, per device and overall, and what it costs."""

from pathlib import Path

from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.records import read, write_json
from llmpi.script import job
from llmpi.study.decision import Constraints, Cost
from llmpi.summary.records import Summary


def main(*, summary: Path, constraints: Constraints, cost: Cost | None, out: Path) -> None:
    found = read(summary, Summary)
    choice = recommend(found, constraints)
    write_json(out, {**choice, "money": costs(found, cost, choice) if cost else None})


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cost = snakemake.params.cost
        main(
            summary=Path(snakemake.input.summary),
            constraints=Constraints.model_validate(snakemake.params.constraints or {}),
            cost=cost and Cost.model_validate(cost),
            out=Path(snakemake.output.recommendation),
        )
