"""Hold what a device predicts against what the workstation does."""

from pathlib import Path

from llmpi.engine.records import Failed, Predictions
from llmpi.quality.parity import compare
from llmpi.records import write_json
from llmpi.remote.parity import predict_there
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import run
from llmpi.study.devices import SingleDevice


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    how: SingleDevice,
    predictions: Predictions | Failed,
    provisioned: Provisioned,
    receipt: Receipt | Failed,
    gguf: Path,
    parity: Path,
) -> None:
    there: Predictions | Failed
    if receipt["status"] == "failed":
        there = receipt
    else:
        what = f"{study}: parity of {model} {quant}"
        there = predict_there(
            device, how, what=what, provisioned=provisioned, receipt=receipt, gguf=gguf
        )
    write_json(parity, compare(predictions, there))


if __name__ == "__main__":
    run(main)
