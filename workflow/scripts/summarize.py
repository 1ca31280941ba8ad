"""Bring the records of a study together in one table, and write it in the forms others read."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.script import job
from llmpi.study.study import Study
from llmpi.summary.llama_bench import write_llama_bench
from llmpi.summary.parquet import write_parquet
from llmpi.summary.study import summarize, write_csv


def main(*, spec: dict, csv: Path, parquet: Path, speed: Path, summary: Path) -> None:
    record = summarize(spec)
    write_csv(csv, record["rows"])
    write_parquet(parquet, record)
    write_llama_bench(speed, Study.model_validate(spec))
    write_json(summary, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            spec=snakemake.params.spec,
            csv=Path(snakemake.output.csv),
            parquet=Path(snakemake.output.parquet),
            speed=Path(snakemake.output.speed),
            summary=Path(snakemake.output.summary),
        )
