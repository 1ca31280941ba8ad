"""Score one variant on one SQuAD v2 task."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.squad.descent import SquadRecord, Step
from llmpi.quality.squad.evaluate import evaluate
from llmpi.quality.squad.records import Questions, Settings
from llmpi.records import read, write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    questions: Questions,
    reference: SquadRecord | None,
    wider: list[Path],
    by_default: SquadRecord | None,
    spec: Settings,
    threads: int,
    store: Path,
    quality: Path,
) -> None:
    if by_default and by_default["status"] == "skipped":
        write_json(quality, by_default)
        return
    step = None
    if reference and wider and "descent" in spec:
        records = {path.parts[-3]: read(path, SquadRecord) for path in wider}
        step = Step(spec["descent"], reference, records)
    record = evaluate(gguf, manifest, questions, spec, threads=threads, store=store, step=step)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
