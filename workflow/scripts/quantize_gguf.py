"""Quantize the F16 GGUF file of a model."""

from pathlib import Path

from llmpi.gguf.quantize import quantize
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *,
    base: Path,
    base_manifest: Path,
    imatrix: list[Path],
    quant: str,
    gguf: Path,
    manifest: Path,
) -> None:
    matrix, about = (imatrix[0], read_json(imatrix[1])) if imatrix else (None, None)
    write_json(manifest, quantize(base, read_json(base_manifest), gguf, quant, matrix, about))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            base=Path(snakemake.input.base),
            base_manifest=Path(snakemake.input.base_manifest),
            imatrix=[Path(path) for path in snakemake.input.imatrix],
            quant=snakemake.wildcards.quant,
            gguf=Path(snakemake.output.gguf),
            manifest=Path(snakemake.output.manifest),
        )
