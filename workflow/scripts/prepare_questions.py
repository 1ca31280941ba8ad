"""Load the questions of a quality task and draw its sample."""

from pathlib import Path

from llmpi.quality.squad.questions import prepare
from llmpi.records import write_json
from llmpi.script import job


def main(*, spec: dict, out: Path) -> None:
    write_json(out, prepare(spec["source"], Path(spec["lock"])))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            spec=snakemake.params.spec,
            out=Path(snakemake.output.questions),
        )
