"""Search faster settings of the engine for one variant on a device."""

import shutil
from pathlib import Path

from llmpi.records import read_json, write_json
from llmpi.remote.tune import tune_runtime
from llmpi.script import job


def main(
    *,
    name: str,
    spec: dict,
    what: str,
    provisioned: Path,
    receipt: Path,
    gguf: Path,
    kept: Path,
    out: Path,
) -> None:
    record = tune_runtime(
        name,
        spec["device"],
        what=what,
        runtime=spec["runtime"],
        workloads=spec["workloads"],
        tune=spec["tune"],
        provisioned=read_json(provisioned),
        receipt=read_json(receipt),
        gguf=gguf,
        kept=kept,
    )
    write_json(out, record)
    shutil.rmtree(kept, ignore_errors=True)  # asked for anew, it is to be measured anew


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cell = snakemake.wildcards
        main(
            name=cell.device,
            spec=snakemake.params.spec,
            what=f"{cell.study}: tuning {cell.model} {cell.quant} {cell.runtime}",
            provisioned=Path(snakemake.input.provisioned),
            receipt=Path(snakemake.input.receipt),
            gguf=Path(snakemake.input.gguf),
            kept=Path(snakemake.params.kept),
            out=Path(snakemake.output.tuned),
        )
