"""Score one variant on one SQuAD v2 task whose answers lie in shards."""

from pathlib import Path

from llmpi.quality.squad.evaluate import merge
from llmpi.records import Record, write_json
from llmpi.script import run


def main(
    *, shards: list[Record], manifest: Record, questions: Record, spec: dict, quality: Path
) -> None:
    write_json(quality, merge(shards, manifest, questions, spec))


if __name__ == "__main__":
    run(main)
