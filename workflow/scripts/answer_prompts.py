"""One variant's answers to the user's prompts."""

from pathlib import Path

from llmpi.quality.ab.evaluate import answer_prompts
from llmpi.records import Record, write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Record,
    prompts: Path,
    spec: dict,
    threads: int,
    store: Path,
    quality: Path,
) -> None:
    record = answer_prompts(gguf, manifest, prompts, spec, threads=threads, store=store)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
