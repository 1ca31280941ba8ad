"""Measure the workloads of one variant on a device."""

from pathlib import Path

from llmpi.device.records import MeasuredBy
from llmpi.engine.records import Failed, Sample
from llmpi.records import write_json
from llmpi.remote import requests
from llmpi.remote.benchmark import benchmark
from llmpi.remote.deploy import Sent
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import run
from llmpi.study.measuring import AnswersWorkload
from llmpi.study.session import SessionSettings
from llmpi.tune.records import TunedRecord


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    session: SessionSettings,
    measured_by: MeasuredBy,
    provisioned: Provisioned,
    receipt: Receipt | Failed,
    gguf: Path,
    tuned: TunedRecord | None,
    samples: list[Sample | Failed],
    draft: Path | None,
    draft_receipt: Receipt | Failed | None,
    bench: Path,
) -> None:
    if receipt["status"] == "failed":
        write_json(bench, receipt)
        return
    if draft_receipt and draft_receipt["status"] == "failed":
        write_json(bench, draft_receipt)
        return
    if tuned and tuned["status"] == "failed":
        write_json(bench, tuned)
        return
    endpoint = session["runtime"].endpoint
    answered = [w for w, one in session["workloads"].items() if isinstance(one, AnswersWorkload)]
    with benchmark(
        device,
        session["device"],
        what=f"{study}: {model} {quant} {runtime}",
        runtime=tuned["runtime"] if tuned else requests.runtime(session["runtime"]),
        workloads=session["workloads"],
        measured_by=measured_by,
        provisioned=provisioned,
        receipt=receipt,
        gguf=gguf,
        kept=bench.with_suffix(".meter"),
        endpoint=requests.endpoint(endpoint, model, quant) if endpoint else None,
        samples=dict(zip(answered, samples, strict=True)),
        draft=Sent(draft, draft_receipt) if draft and draft_receipt else None,
    ) as record:
        write_json(bench, record)


if __name__ == "__main__":
    run(main)
