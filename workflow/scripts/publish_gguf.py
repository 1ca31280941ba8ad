"""Take a file of a model's source as it is."""

from pathlib import Path

from llmpi.gguf.published import publish
from llmpi.models.records import ModelRecord
from llmpi.records import read, write_json
from llmpi.script import run


def main(*, model: Path, quant: str, gguf: Path, manifest: Path) -> None:
    write_json(manifest, publish(model.parent, read(model, ModelRecord), gguf, quant))


if __name__ == "__main__":
    run(main)
