"""Score one variant on tasks of the lm-evaluation-harness."""

from pathlib import Path

from llmpi.quality.lm_eval.evaluate import Settings, evaluate_lm_eval
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(*, gguf: Path, manifest: Path, spec: Settings, threads: int, out: Path) -> None:
    write_json(out, evaluate_lm_eval(gguf, read_json(manifest), spec, threads=threads))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            spec=snakemake.params.spec,
            threads=snakemake.threads,
            out=Path(snakemake.output.quality),
        )
