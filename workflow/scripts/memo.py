"""Write the memo of a study in one language, as Markdown and as PDF."""

from pathlib import Path

from llmpi.decide.records import Recommendation
from llmpi.records import read, whole_file
from llmpi.report.memo.facts import facts
from llmpi.report.memo.pdf import write_pdf
from llmpi.report.memo.text import render
from llmpi.script import job
from llmpi.study.study import Language
from llmpi.summary.records import Summary


def main(
    *, summary: Path, recommendation: Path, language: Language, markdown: Path, pdf: Path
) -> None:
    content = facts(read(summary, Summary), read(recommendation, Recommendation))
    text = render(content, language)
    with whole_file(markdown) as partial:
        partial.write_text(text, encoding="utf-8")
    write_pdf(pdf, text, language)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            summary=Path(snakemake.input.summary),
            recommendation=Path(snakemake.input.recommendation),
            language=snakemake.wildcards.language,
            markdown=Path(snakemake.output.markdown),
            pdf=Path(snakemake.output.pdf),
        )
