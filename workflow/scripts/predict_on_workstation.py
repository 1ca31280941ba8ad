"""Predict the text of the parity check on this machine."""

from pathlib import Path

from llmpi.quality.parity import predict_here
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(*, gguf: Path, manifest: Path, threads: int, out: Path) -> None:
    write_json(out, predict_here(gguf, read_json(manifest), threads=threads))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            threads=snakemake.threads,
            out=Path(snakemake.output.predictions),
        )
