"""Bring a fetched model to the F16 GGUF file that every quantization starts from."""

from pathlib import Path

from llmpi.gguf.convert import convert
from llmpi.models.records import ModelRecord
from llmpi.records import read, write_json
from llmpi.script import run


def main(*, model: Path, lock: Path, threads: int, gguf: Path, manifest: Path) -> None:
    made = convert(model.parent, read(model, ModelRecord), gguf, lock=lock, threads=threads)
    write_json(manifest, made)


if __name__ == "__main__":
    run(main)
