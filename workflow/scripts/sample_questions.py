"""Draw some questions of a task, as one variant is asked them."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.records import SampleSettings
from llmpi.quality.sample import sample as sampled
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    gguf: Path,
    manifest: Gguf | Failed,
    questions: Path,
    spec: SampleSettings,
    sample: Path,
) -> None:
    write_json(sample, sampled(gguf, manifest, questions, spec))


if __name__ == "__main__":
    run(main)
