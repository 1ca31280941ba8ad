"""Make a device ready: its store, and a venv with llmpi and the engine."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.records import write_json
from llmpi.remote.provision import provision


def main(
    *, name: str, spec: dict, wheel: Path | None, lock: Path, installer: Path, receipt: Path
) -> None:
    write_json(receipt, provision(name, spec, wheel=wheel, lock=lock, installer=installer))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            name=snakemake.wildcards.device,
            spec=snakemake.params.spec,
            wheel=Path(snakemake.input.wheel) if snakemake.input.get("wheel") else None,
            lock=Path(snakemake.input.lock),
            installer=Path(snakemake.input.installer),
            receipt=Path(snakemake.output.receipt),
        )
