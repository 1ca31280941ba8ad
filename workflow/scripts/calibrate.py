"""Make the importance matrix of a model."""

from pathlib import Path

from llmpi.gguf.calibrate import calibrate
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *,
    base: Path,
    base_manifest: Path,
    corpus: Path,
    chunks: int | None,
    threads: int,
    imatrix: Path,
    manifest: Path,
) -> None:
    text = read_json(corpus)["text"]
    made = calibrate(base, read_json(base_manifest), text, imatrix, chunks=chunks, threads=threads)
    write_json(manifest, made)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            base=Path(snakemake.input.base),
            base_manifest=Path(snakemake.input.base_manifest),
            corpus=Path(snakemake.input.corpus),
            chunks=snakemake.params.chunks,
            threads=snakemake.threads,
            imatrix=Path(snakemake.output.imatrix),
            manifest=Path(snakemake.output.manifest),
        )
