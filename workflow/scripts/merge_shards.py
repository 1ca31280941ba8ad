"""Score one variant on one SQuAD v2 task whose answers lie in shards."""

from pathlib import Path

from llmpi.quality.squad.evaluate import merge
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(*, shards: list[Path], manifest: Path, questions: Path, spec: dict, out: Path) -> None:
    records = [read_json(path) for path in shards]
    write_json(out, merge(records, read_json(manifest), read_json(questions), spec))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            shards=[Path(path) for path in snakemake.input.shards],
            manifest=Path(snakemake.input.manifest),
            questions=Path(snakemake.input.questions),
            spec=snakemake.params.spec,
            out=Path(snakemake.output.quality),
        )
