"""Bring the records of a study together in one table."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.records import write_json
from llmpi.report.summary import summarize, write_csv


def main(*, spec: dict, csv: Path, summary: Path) -> None:
    record = summarize(spec)
    write_csv(csv, record["rows"])
    write_json(summary, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            spec=snakemake.params.spec,
            csv=Path(snakemake.output.csv),
            summary=Path(snakemake.output.summary),
        )
