"""Score one variant on tasks of the lm-evaluation-harness."""

from pathlib import Path

from llmpi.quality.lm_eval.evaluate import Settings, evaluate_lm_eval
from llmpi.records import Record, write_json
from llmpi.script import run


def main(*, gguf: Path, manifest: Record, spec: Settings, threads: int, quality: Path) -> None:
    write_json(quality, evaluate_lm_eval(gguf, manifest, spec, threads=threads))


if __name__ == "__main__":
    run(main)
