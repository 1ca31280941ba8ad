"""Score one variant on one SQuAD v2 task."""

from pathlib import Path

from llmpi.quality.squad.descent import Step
from llmpi.quality.squad.evaluate import evaluate
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *,
    gguf: Path,
    manifest: Path,
    questions: Path,
    reference: Path | None,
    wider: list[Path],
    spec: dict,
    threads: int,
    store: Path,
    out: Path,
) -> None:
    step = None
    if reference and wider:
        records = {path.parent.name: read_json(path) for path in wider}
        step = Step(spec["descent"], read_json(reference), records)
    record = evaluate(
        gguf,
        read_json(manifest),
        read_json(questions),
        spec,
        threads=threads,
        store=store,
        step=step,
    )
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        files = snakemake.input
        main(
            gguf=Path(files.gguf),
            manifest=Path(files.manifest),
            questions=Path(files.questions),
            reference=Path(files.reference) if files.reference else None,
            wider=[Path(path) for path in files.wider],
            spec=snakemake.params.spec,
            threads=snakemake.threads,
            store=Path(snakemake.params.store),
            out=Path(snakemake.output.quality),
        )
