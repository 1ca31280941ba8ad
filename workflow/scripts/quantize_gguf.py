"""Quantize the F16 GGUF file of a model."""

from pathlib import Path

from llmpi.gguf.quantize import quantize
from llmpi.records import Record, read, write_json
from llmpi.script import run


def main(
    *,
    base: Path,
    base_manifest: Record,
    imatrix: list[Path],
    quant: str,
    gguf: Path,
    manifest: Path,
) -> None:
    matrix, about = (imatrix[0], read(imatrix[1], Record)) if imatrix else (None, None)
    write_json(manifest, quantize(base, base_manifest, gguf, quant, matrix, about))


if __name__ == "__main__":
    run(main)
