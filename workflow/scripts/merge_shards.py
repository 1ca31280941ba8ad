"""Score one variant on one SQuAD v2 task whose answers lie in shards."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.squad.evaluate import merge
from llmpi.quality.squad.records import Questions, Settings, Shard
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    shards: list[Shard | Failed],
    manifest: Gguf | Failed,
    questions: Questions,
    spec: Settings,
    quality: Path,
) -> None:
    write_json(quality, merge(shards, manifest, questions, spec))


if __name__ == "__main__":
    run(main)
