"""Measure the workloads of one variant on a device."""

from pathlib import Path

from llmpi.records import Record, is_ok, write_json
from llmpi.remote.benchmark import benchmark
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
    tuned: Record | None,
    bench: Path,
) -> None:
    found = tuned or {"status": "ok", "runtime": spec["runtime"]}
    if not is_ok(found):
        write_json(bench, found)
        return
    record = benchmark(
        device,
        spec["device"],
        what=f"{study}: {model} {quant} {runtime}",
        runtime=found["runtime"],
        workloads=spec["workloads"],
        provisioned=provisioned,
        receipt=receipt,
        gguf=gguf,
    )
    write_json(bench, record)


if __name__ == "__main__":
    run(main)
