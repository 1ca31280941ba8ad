"""Bring the records of a study together in one table, and write it in the forms others read."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.script import run
from llmpi.study.study import Study
from llmpi.summary.flat import flat_rows, write_csv
from llmpi.summary.llama_bench import write_llama_bench
from llmpi.summary.parquet import write_parquet
from llmpi.summary.read import read_records, trees
from llmpi.summary.study import summarize


@trees()
def main(
    *, study: Study, csv: Path, parquet: Path, speed: Path, summary: Path, requirements: Path
) -> None:
    records = read_records(study)
    whole, asked = summarize(study, records)
    flat = flat_rows(study, whole["rows"])
    write_csv(csv, flat)
    write_parquet(parquet, study, whole, flat)
    write_llama_bench(speed, study, records)
    write_json(summary, whole, indent=None)
    write_json(requirements, asked, indent=None)


if __name__ == "__main__":
    run(main)
