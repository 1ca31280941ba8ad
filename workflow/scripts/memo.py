"""Write the memo of a study in one language, as Markdown and as PDF."""

from pathlib import Path

from llmpi.records import read_json, whole_file
from llmpi.report.memo.facts import facts
from llmpi.report.memo.pdf import write_pdf
from llmpi.report.memo.text import render
from llmpi.script import job


def main(*, summary: Path, recommendation: Path, language: str, markdown: Path, pdf: Path) -> None:
    text = render(facts(read_json(summary), read_json(recommendation)), language)
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
