"""Make a device ready: its store, and a venv with llmpi and the engine."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.remote.provision import Parts, provision
from llmpi.script import job


def main(*, name: str, spec: dict, parts: Parts | None, receipt: Path) -> None:
    write_json(receipt, provision(name, spec, parts))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        wheel = snakemake.input.get("wheel")
        main(
            name=snakemake.wildcards.device,
            spec=snakemake.params.spec,
            parts=Parts(
                wheel=Path(wheel),
                lock=Path(snakemake.input.lock),
                installer=Path(snakemake.input.installer),
                engines=Path(snakemake.params.engines),
            )
            if wheel
            else None,
            receipt=Path(snakemake.output.receipt),
        )
