"""Train a model for a quantization, or for none: a model from scratch."""

from pathlib import Path

from llmpi.quant_types import type_of
from llmpi.records import Record, write_json
from llmpi.script import run
from llmpi.train.qat import train_qat


def main(
    *,
    base: Path,
    base_manifest: Record,
    corpus: Record,
    target: str,
    spec: dict,
    checkpoints: Path,
    gguf: Path,
    manifest: Path,
) -> None:
    made = train_qat(
        base,
        base_manifest,
        gguf,
        quant=type_of(target),
        spec=spec,
        corpus=corpus,
        checkpoints=checkpoints,
    )
    write_json(manifest, made)


if __name__ == "__main__":
    run(main)
