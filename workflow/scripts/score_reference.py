"""Write a reference's log-probabilities on a corpus."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.evaluate import reference
from llmpi.quality.divergence.records import Corpus, CutWithin
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    corpus: Corpus,
    spec: CutWithin,
    threads: int,
    rows: Path,
    record: Path,
) -> None:
    partial = rows.with_suffix(".parts")
    made = reference(gguf, manifest, corpus, spec, out=rows, partial=partial, threads=threads)
    write_json(record, made)


if __name__ == "__main__":
    run(main)
