"""One variant's answers to the user's prompts."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.ab.evaluate import answer_prompts
from llmpi.quality.ab.records import AbSettings
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    prompts: Path,
    spec: AbSettings,
    threads: int,
    store: Path,
    quality: Path,
) -> None:
    record = answer_prompts(gguf, manifest, prompts, spec, threads=threads, store=store)
    write_json(quality, record)


if __name__ == "__main__":
    run(main)
