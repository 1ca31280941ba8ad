"""Draw the page of a study."""

from pathlib import Path

from llmpi.decide.records import Recommendation
from llmpi.records import read
from llmpi.report.page.write import write_page
from llmpi.script import job
from llmpi.summary.records import Summary


def main(*, summary: Path, recommendation: Path, page: Path) -> None:
    write_page(read(summary, Summary), read(recommendation, Recommendation), page)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            summary=Path(snakemake.input.summary),
            recommendation=Path(snakemake.input.recommendation),
            page=Path(snakemake.output.page),
        )
