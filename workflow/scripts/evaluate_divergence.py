"""Score one variant on one divergence task."""

from pathlib import Path

from llmpi.quality.divergence.evaluate import divergence
from llmpi.records import Record, write_json
from llmpi.script import run


def main(
    *, gguf: Path, manifest: Record, rows: Path, reference: Record, threads: int, quality: Path
) -> None:
    partial = quality.with_suffix(".parts")
    record = divergence(gguf, manifest, rows, reference, partial=partial, threads=threads)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
