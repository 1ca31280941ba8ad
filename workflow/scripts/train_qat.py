"""Train a model for a quantization, or for none: a model from scratch."""

from pathlib import Path

from llmpi.layout import BASE_QUANT
from llmpi.quant_types import type_of
from llmpi.records import read_json, write_json
from llmpi.script import job
from llmpi.train.qat import train_qat


def main(
    *,
    base: Path,
    base_manifest: Path,
    corpus: Path,
    quant: str,
    spec: dict,
    checkpoints: Path,
    gguf: Path,
    manifest: Path,
) -> None:
    made = train_qat(
        base,
        read_json(base_manifest),
        gguf,
        quant=type_of(quant),
        spec=spec,
        corpus=read_json(corpus),
        checkpoints=checkpoints,
    )
    write_json(manifest, made)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            base=Path(snakemake.input.base),
            base_manifest=Path(snakemake.input.base_manifest),
            corpus=Path(snakemake.input.corpus),
            quant=snakemake.wildcards.get("quant", BASE_QUANT),
            spec=snakemake.params.spec,
            checkpoints=Path(snakemake.params.checkpoints),
            gguf=Path(snakemake.output.gguf),
            manifest=Path(snakemake.output.manifest),
        )
