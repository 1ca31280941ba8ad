"""Write a reference's log-probabilities on a corpus."""

from pathlib import Path

from llmpi.quality.divergence.evaluate import reference
from llmpi.records import Record, write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Record,
    corpus: Record,
    spec: dict,
    threads: int,
    rows: Path,
    record: Path,
) -> None:
    kept = {"out": rows, "partial": rows.with_suffix(".parts")}
    write_json(record, reference(gguf, manifest, corpus, spec, **kept, threads=threads))


if __name__ == "__main__":
    run(main)
