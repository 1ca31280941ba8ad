"""Answer some blocks of one SQuAD v2 task with one variant."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.squad.records import Questions, ShardSettings
from llmpi.quality.squad.shards import answer_shard
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    questions: Questions,
    spec: ShardSettings,
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
