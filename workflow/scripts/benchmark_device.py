"""Measure the workloads of one variant on a device."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.records import read_json, write_json
from llmpi.remote.benchmark import benchmark


def main(
    *, name: str, spec: dict, what: str, provisioned: Path, receipt: Path, gguf: Path, out: Path
) -> None:
    record = benchmark(
        name,
        spec["device"],
        what=what,
        runtime=spec["runtime"],
        workloads=spec["workloads"],
        provisioned=read_json(provisioned),
        receipt=read_json(receipt),
        gguf=gguf,
    )
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cell = snakemake.wildcards
        main(
            name=cell.device,
            spec=snakemake.params.spec,
            what=f"{cell.study}: {cell.model} {cell.quant} {cell.runtime}",
            provisioned=Path(snakemake.input.provisioned),
            receipt=Path(snakemake.input.receipt),
            gguf=Path(snakemake.input.gguf),
            out=Path(snakemake.output.bench),
        )
