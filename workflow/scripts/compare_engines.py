"""Measure one variant on a device with several engines in turns."""

import shutil
from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.records import write_json
from llmpi.remote import requests
from llmpi.remote.compare_engines import compare_engines
from llmpi.remote.records import InstalledEngines, Provisioned, Receipt
from llmpi.script import run
from llmpi.study.engines import ComparisonSettings
from llmpi.tune.records import TunedRecord


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    comparison: ComparisonSettings,
    provisioned: Provisioned,
    installed: InstalledEngines,
    receipt: Receipt | Failed,
    gguf: Path,
    tuned: TunedRecord | None,
    kept: Path,
    compared: Path,
) -> None:
    if receipt["status"] == "failed":
        write_json(compared, receipt)
        return
    if tuned and tuned["status"] == "failed":
        write_json(compared, tuned)
        return
    record = compare_engines(
        device,
        comparison["device"],
        what=f"{study}: engines with {model} {quant} {runtime}",
        runtime=tuned["runtime"] if tuned else requests.runtime(comparison["runtime"]),
        workloads=comparison["workloads"],
        provisioned=provisioned,
        installed=installed,
        receipt=receipt,
        gguf=gguf,
        kept=kept,
    )
    write_json(compared, record)
    shutil.rmtree(kept, ignore_errors=True)  # asked for anew, it is to be measured anew


if __name__ == "__main__":
    run(main)
