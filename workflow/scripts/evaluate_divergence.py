"""Score one variant on one divergence task."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.evaluate import divergence
from llmpi.quality.divergence.records import Corpus, Perplexity
from llmpi.quality.divergence.seen import check_unseen
from llmpi.quality.records import Computation
from llmpi.records import read, write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    rows: Path,
    reference: Perplexity | Failed,
    corpus: Path,
    made_with: list[Path],
    model: str,
    quant: str,
    task: str,
    spec: Computation,
    threads: int,
    quality: Path,
) -> None:
    if made_with and reference["status"] == "ok":
        seen = {path.stem: read(path, Corpus) for path in made_with}
        check_unseen(f"{model} {quant}", task, read(corpus, Corpus), reference, seen)
    partial = quality.with_suffix(".parts")
    record = divergence(gguf, manifest, rows, reference, spec, partial=partial, threads=threads)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
