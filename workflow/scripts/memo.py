"""Write the memo of a study in one language, as Markdown and as PDF."""

from pathlib import Path

from llmpi.decide.records import Recommendation
from llmpi.records import whole_file
from llmpi.report.memo.facts import facts
from llmpi.report.memo.pdf import write_pdf
from llmpi.report.memo.text import render
from llmpi.script import run
from llmpi.study.study import Language
from llmpi.summary.records import Summary


def main(
    *,
    summary: Summary,
    recommendation: Recommendation,
    language: Language,
    markdown: Path,
    pdf: Path,
) -> None:
    text = render(facts(summary, recommendation), language)
    with whole_file(markdown) as partial:
        partial.write_text(text, encoding="utf-8")
    write_pdf(pdf, text, language)


if __name__ == "__main__":
    run(main)
