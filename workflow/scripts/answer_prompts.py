"""One variant's answers to the user's prompts."""

from pathlib import Path

from llmpi.quality.ab.evaluate import answer_prompts
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *, gguf: Path, manifest: Path, prompts: Path, spec: dict, threads: int, store: Path, out: Path
) -> None:
    record = answer_prompts(gguf, read_json(manifest), prompts, spec, threads=threads, store=store)
    write_json(out, record)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            gguf=Path(snakemake.input.gguf),
            manifest=Path(snakemake.input.manifest),
            prompts=Path(snakemake.input.prompts),
            spec=snakemake.params.spec,
            threads=snakemake.threads,
            store=Path(snakemake.params.store),
            out=Path(snakemake.output.quality),
        )
