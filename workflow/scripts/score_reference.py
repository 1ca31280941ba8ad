"""Write a reference's log-probabilities on a corpus."""

from pathlib import Path

from llmpi.quality.divergence.evaluate import reference
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *, gguf: Path, manifest: Path, corpus: Path, spec: dict, rows: Path, out: Path, threads: int
) -> None:
    record = reference(
        gguf,
        read_json(manifest),
        read_json(corpus),
        spec,
        out=rows,
        partial=rows.with_suffix(".parts"),
        threads=threads,
    )
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            corpus=Path(snakemake.input.corpus),
            spec=snakemake.params.spec,
            rows=Path(snakemake.output.rows),
            out=Path(snakemake.output.manifest),
            threads=snakemake.threads,
        )
