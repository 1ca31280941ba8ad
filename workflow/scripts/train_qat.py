"""Train a model for a quantization, or for none: a model from scratch."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf, Start
from llmpi.quality.divergence.records import Corpus
from llmpi.quant_types import type_of
from llmpi.records import write_json
from llmpi.script import run
from llmpi.study.training import Training
from llmpi.train.qat import train_qat


def main(
    *,
    base: Path,
    base_manifest: Gguf | Start | Failed,
    corpus: Corpus,
    target: str,
    spec: Training,
    threads: int,
    checkpoints: Path,
    gguf: Path,
    manifest: Path,
) -> None:
    made = train_qat(
        base,
        base_manifest,
        gguf,
        quant=type_of(target),
        settings=spec,
        corpus=corpus,
        threads=threads,
        checkpoints=checkpoints,
    )
    write_json(manifest, made)


if __name__ == "__main__":
    run(main)
