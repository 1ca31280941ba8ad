"""Search faster settings of the engine for one variant on a device."""

import shutil
from pathlib import Path

from llmpi.records import Record, write_json
from llmpi.remote.tune import tune_runtime
from llmpi.script import run


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    spec: dict,
    provisioned: Record,
    receipt: Record,
    gguf: Path,
    kept: Path,
    tuned: Path,
) -> None:
    record = tune_runtime(
        device,
        spec["device"],
        what=f"{study}: tuning {model} {quant} {runtime}",
        runtime=spec["runtime"],
        workloads=spec["workloads"],
        tune=spec["tune"],
        provisioned=provisioned,
        receipt=receipt,
        gguf=gguf,
        kept=kept,
    )
    write_json(tuned, record)
    shutil.rmtree(kept, ignore_errors=True)  # asked for anew, it is to be measured anew


if __name__ == "__main__":
    run(main)
