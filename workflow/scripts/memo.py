"""Write the memo of a study in one language, as Markdown and as PDF."""

from pathlib import Path

from llmpi.records import Record, whole_file
from llmpi.report.memo.facts import facts
from llmpi.report.memo.pdf import write_pdf
from llmpi.report.memo.text import render
from llmpi.script import run


def main(
    *, summary: Record, recommendation: Record, language: str, markdown: Path, pdf: Path
) -> None:
    text = render(facts(summary, recommendation), language)
    with whole_file(markdown) as partial:
        partial.write_text(text, encoding="utf-8")
    write_pdf(pdf, text, language)


if __name__ == "__main__":
    run(main)
