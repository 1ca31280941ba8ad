"""Quantize the F16 GGUF file of a model."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf, Imatrix, Mix
from llmpi.records import read, write_json
from llmpi.script import run


def main(
    *,
    base: Path,
    base_manifest: Gguf | Failed,
    imatrix: list[Path],
    mix: Mix | Failed | None,
    quant: str,
    threads: int,
    gguf: Path,
    manifest: Path,
) -> None:
    matrix, about = (imatrix[0], read(imatrix[1], Imatrix | Failed)) if imatrix else (None, None)
    made = quantize(
        base,
        base_manifest,
        gguf,
        quant,
        matrix,
        about,
        mix,
        threads=threads,
        parameters=base_manifest["parameters"] if base_manifest["status"] == "ok" else 0,
    )
    write_json(manifest, made)


if __name__ == "__main__":
    run(main)
