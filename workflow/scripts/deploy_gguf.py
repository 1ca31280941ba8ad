"""Put a model file into the store of a device and write the receipt."""

from pathlib import Path

from llmpi.records import read_json, write_json
from llmpi.remote.deploy import deploy
from llmpi.script import job


def main(
    *, name: str, spec: dict, gguf: Path, manifest: Path, model: str, quant: str, receipt: Path
) -> None:
    record = deploy(name, spec, gguf=gguf, manifest=read_json(manifest), model=model, quant=quant)
    write_json(receipt, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            name=snakemake.wildcards.device,
            spec=snakemake.params.spec,
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            model=snakemake.wildcards.model,
            quant=snakemake.wildcards.quant,
            receipt=Path(snakemake.output.receipt),
        )
