"""Hold what a device predicts against what the workstation does."""

from pathlib import Path

from llmpi.quality.parity import compare
from llmpi.records import read_json, write_json
from llmpi.remote.parity import predict_there
from llmpi.script import job


def main(
    *, name: str, spec: dict, what: str, predictions: Path, receipt: Path, gguf: Path, out: Path
) -> None:
    there = predict_there(name, spec, what=what, receipt=read_json(receipt), gguf=gguf)
    write_json(out, compare(read_json(predictions), there))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cell = snakemake.wildcards
        main(
            name=cell.device,
            spec=snakemake.params.spec,
            what=f"{cell.study}: parity of {cell.model} {cell.quant}",
            predictions=Path(snakemake.input.predictions),
            receipt=Path(snakemake.input.receipt),
            gguf=Path(snakemake.input.gguf),
            out=Path(snakemake.output.parity),
        )
