"""Answer some blocks of one SQuAD v2 task with one variant."""

from pathlib import Path

from llmpi.quality.squad.shards import answer_shard
from llmpi.records import Record, write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Record,
    questions: Record,
    spec: dict,
    threads: int,
    store: Path,
    shard: Path,
) -> None:
    number, shards = spec["shard"]
    of = {"shard": number, "shards": shards}
    write_json(
        shard, answer_shard(gguf, manifest, questions, spec, **of, threads=threads, store=store)
    )


if __name__ == "__main__":
    run(main)
