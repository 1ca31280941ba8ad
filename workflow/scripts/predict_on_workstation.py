"""Predict the text of the parity check on this machine."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.parity import predict_here
from llmpi.records import write_json
from llmpi.script import run


def main(*, gguf: Path, manifest: Gguf | Failed, threads: int, predictions: Path) -> None:
    write_json(predictions, predict_here(gguf, manifest, threads=threads))


if __name__ == "__main__":
    run(main)
