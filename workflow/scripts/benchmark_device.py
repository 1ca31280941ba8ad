"""Measure the workloads of one variant on a device."""

from pathlib import Path

from llmpi.records import is_ok, read_json, write_json
from llmpi.remote.benchmark import benchmark
from llmpi.script import job


def main(
    *,
    name: str,
    spec: dict,
    what: str,
    provisioned: Path,
    receipt: Path,
    gguf: Path,
    tuned: Path | None,
    out: Path,
) -> None:
    found = read_json(tuned) if tuned else {"status": "ok", "runtime": spec["runtime"]}
    if not is_ok(found):
        write_json(out, found)
        return
    record = benchmark(
        name,
        spec["device"],
        what=what,
        runtime=found["runtime"],
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
            tuned=Path(snakemake.input.tuned) if snakemake.input.tuned else None,
            out=Path(snakemake.output.bench),
        )
