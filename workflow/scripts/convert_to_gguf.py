"""Bring a fetched model to the F16 GGUF file that every quantization starts from."""

from pathlib import Path

from llmpi.gguf.convert import convert
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(*, model: Path, lock: Path, gguf: Path, manifest: Path) -> None:
    write_json(manifest, convert(model.parent, read_json(model), gguf, lock=lock))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            model=Path(snakemake.input.model),
            lock=Path(snakemake.input.lock),
            gguf=Path(snakemake.output.gguf),
            manifest=Path(snakemake.output.manifest),
        )
