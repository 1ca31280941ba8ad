"""Score one variant on one divergence task."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.evaluate import divergence
from llmpi.quality.divergence.records import Perplexity
from llmpi.quality.records import Computation
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    rows: Path,
    reference: Perplexity | Failed,
    spec: Computation,
    threads: int,
    quality: Path,
) -> None:
    partial = quality.with_suffix(".parts")
    record = divergence(gguf, manifest, rows, reference, spec, partial=partial, threads=threads)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
