"""Load the questions of a quality task and draw its sample."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.quality.questions import prepare
from llmpi.records import write_json


def main(*, spec: dict, out: Path) -> None:
    write_json(out, prepare(spec["source"], Path(spec["lock"])))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            spec=snakemake.params.spec,
            out=Path(snakemake.output.questions),
        )
