"""Score one variant on one divergence task."""

from pathlib import Path

from llmpi.quality.divergence.evaluate import divergence
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *, gguf: Path, manifest: Path, rows: Path, reference: Path, out: Path, threads: int
) -> None:
    record = divergence(
        gguf,
        read_json(manifest),
        rows,
        read_json(reference),
        partial=out.with_suffix(".parts"),
        threads=threads,
    )
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            rows=Path(snakemake.input.rows),
            reference=Path(snakemake.input.reference),
            out=Path(snakemake.output.quality),
            threads=snakemake.threads,
        )
