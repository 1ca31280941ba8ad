"""Measure one workload of one variant on a device."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.records import read_json, write_json
from llmpi.remote.benchmark import benchmark


def main(*, name: str, spec: dict, receipt: Path, out: Path) -> None:
    record = benchmark(
        name,
        spec["device"],
        workload=spec["workload"],
        receipt=read_json(receipt),
    )
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            name=snakemake.wildcards.device,
            spec=snakemake.params.spec,
            receipt=Path(snakemake.input.receipt),
            out=Path(snakemake.output.bench),
        )
