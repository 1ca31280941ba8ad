"""Score one variant on one SQuAD v2 task."""

from pathlib import Path

from llmpi.quality.squad.descent import Step
from llmpi.quality.squad.evaluate import evaluate
from llmpi.records import Record, read, write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Record,
    questions: Record,
    reference: Record | None,
    wider: list[Path],
    spec: dict,
    threads: int,
    store: Path,
    quality: Path,
) -> None:
    step = None
    if reference and wider:
        records = {path.parent.name: read(path, Record) for path in wider}
        step = Step(spec["descent"], reference, records)
    record = evaluate(gguf, manifest, questions, spec, threads=threads, store=store, step=step)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
