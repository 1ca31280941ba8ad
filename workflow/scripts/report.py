"""Draw the page of a study."""

from pathlib import Path

from llmpi.records import read_json
from llmpi.report.page.write import write_page
from llmpi.script import job


def main(*, summary: Path, recommendation: Path, page: Path) -> None:
    write_page(read_json(summary), read_json(recommendation), page)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            summary=Path(snakemake.input.summary),
            recommendation=Path(snakemake.input.recommendation),
            page=Path(snakemake.output.page),
        )
