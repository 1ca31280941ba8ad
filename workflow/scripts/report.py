"""Draw the page of a study."""

from pathlib import Path

from llmpi.decide.records import Recommendation
from llmpi.report.page.write import write_page
from llmpi.script import run
from llmpi.summary.records import Summary
from llmpi.summary.service_loads import read_benches


def main(
    *, summary: Summary, recommendation: Recommendation, service: list[Path], page: Path
) -> None:
    write_page(summary, recommendation, page, read_benches(service))


if __name__ == "__main__":
    run(main)
