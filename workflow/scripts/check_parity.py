"""Hold what a device predicts against what the workstation does."""

from pathlib import Path

from llmpi.quality.parity import compare
from llmpi.records import Record, write_json
from llmpi.remote.parity import predict_there
from llmpi.script import run


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    spec: dict,
    predictions: Record,
    receipt: Record,
    gguf: Path,
    parity: Path,
) -> None:
    what = f"{study}: parity of {model} {quant}"
    there = predict_there(device, spec, what=what, receipt=receipt, gguf=gguf)
    write_json(parity, compare(predictions, there))


if __name__ == "__main__":
    run(main)
