"""Fetch a model and write its manifest."""

from pathlib import Path

from llmpi.jobs import job
from llmpi.models.fetch import fetch
from llmpi.records import write_json


def main(*, spec: dict, lock: Path, manifest: Path) -> None:
    write_json(manifest, fetch(spec, manifest.parent, lock))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            spec=snakemake.params.spec,
            lock=Path(snakemake.params.lock),
            manifest=Path(snakemake.output.manifest),
        )
