"""Draw the page of a study."""

from pathlib import Path

from llmpi.records import Record
from llmpi.report.page.write import write_page
from llmpi.script import run


def main(*, summary: Record, recommendation: Record, page: Path) -> None:
    write_page(summary, recommendation, page)


if __name__ == "__main__":
    run(main)
