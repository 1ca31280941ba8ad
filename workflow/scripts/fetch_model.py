"""Fetch a model and write its manifest."""

from pathlib import Path

from llmpi.models.fetch import Asked, fetch
from llmpi.records import write_json
from llmpi.script import run


def main(*, spec: Asked, manifest: Path) -> None:
    write_json(manifest, fetch(spec["source"], manifest.parent, Path(spec["lock"])))


if __name__ == "__main__":
    run(main)
