"""Make the importance matrix of a model."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.calibrate import calibrate
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.records import Corpus
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    base: Path,
    base_manifest: Gguf | Failed,
    corpus: Corpus,
    chunks: int | None,
    threads: int,
    imatrix: Path,
    manifest: Path,
) -> None:
    text = corpus["text"]
    made = calibrate(base, base_manifest, text, imatrix, chunks=chunks, threads=threads)
    write_json(manifest, made)


if __name__ == "__main__":
    run(main)
