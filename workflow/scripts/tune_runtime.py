"""Search faster settings of the engine for one variant on a device."""

import shutil
from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.records import write_json
from llmpi.remote.records import Provisioned, Receipt
from llmpi.remote.tune import tune_runtime
from llmpi.script import run
from llmpi.study.tuning import SearchSettings


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    search: SearchSettings,
    provisioned: Provisioned,
    receipt: Receipt | Failed,
    gguf: Path,
    kept: Path,
    tuned: Path,
) -> None:
    if receipt["status"] == "failed":
        write_json(tuned, receipt)
        return
    record = tune_runtime(
        device,
        search["device"],
        what=f"{study}: tuning {model} {quant} {runtime}",
        runtime=search["runtime"],
        workloads=search["workloads"],
        tune=search["tune"],
        provisioned=provisioned,
        receipt=receipt,
        gguf=gguf,
        kept=kept,
    )
    write_json(tuned, record)
    shutil.rmtree(kept, ignore_errors=True)  # asked for anew, it is to be measured anew


if __name__ == "__main__":
    run(main)
