"""Fetch a model and write its manifest."""

from pathlib import Path

from llmpi.models.fetch import fetch
from llmpi.records import write_json
from llmpi.script import job


def main(*, spec: dict, manifest: Path) -> None:
    write_json(manifest, fetch(spec["source"], manifest.parent, Path(spec["lock"])))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            spec=snakemake.params.spec,
            manifest=Path(snakemake.output.manifest),
        )
