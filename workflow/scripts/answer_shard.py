"""Answer some blocks of one SQuAD v2 task with one variant."""

from pathlib import Path

from llmpi.quality.squad.shards import answer_shard
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *,
    gguf: Path,
    manifest: Path,
    questions: Path,
    spec: dict,
    threads: int,
    store: Path,
    out: Path,
) -> None:
    shard, shards = spec["shard"]
    record = answer_shard(
        gguf,
        read_json(manifest),
        read_json(questions),
        spec,
        shard=shard,
        shards=shards,
        threads=threads,
        store=store,
    )
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            questions=Path(snakemake.input.questions),
            spec=snakemake.params.spec,
            threads=snakemake.threads,
            store=Path(snakemake.params.store),
            out=Path(snakemake.output.shard),
        )
