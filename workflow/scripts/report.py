"""Draw the page of a study."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.records import read_json
from llmpi.report.page import write_page


def main(*, summary: Path, page: Path) -> None:
    write_page(read_json(summary), page)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            summary=Path(snakemake.input.summary),
            page=Path(snakemake.output.page),
        )
