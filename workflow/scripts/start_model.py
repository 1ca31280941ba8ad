"""Make a model that is to be trained from scratch."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.script import run
from llmpi.train.small import Asked, start


def main(
    *, spec: Asked, seed: int, vocabulary: Path, gguf: Path, manifest: Path, model: Path
) -> None:
    made, about = start(spec["source"], vocabulary, gguf, seed)
    write_json(manifest, made)
    write_json(model, about)


if __name__ == "__main__":
    run(main)
