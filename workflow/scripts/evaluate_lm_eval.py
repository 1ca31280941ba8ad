"""Score one variant on tasks of the lm-evaluation-harness."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.quality.lm_eval.evaluate import evaluate_lm_eval
from llmpi.quality.lm_eval.records import Settings
from llmpi.records import write_json
from llmpi.script import run


def main(
    *, gguf: Path, manifest: Gguf | Failed, spec: Settings, threads: int, quality: Path
) -> None:
    write_json(quality, evaluate_lm_eval(gguf, manifest, spec, threads=threads))


if __name__ == "__main__":
    run(main)
