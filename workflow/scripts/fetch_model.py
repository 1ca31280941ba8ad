"""Fetch a model and write its manifest."""

from pathlib import Path

from llmpi.models.fetch import Asked, fetch
from llmpi.models.records import FetchedBy
from llmpi.records import write_json
from llmpi.script import run


def main(*, spec: Asked, fetched_by: list[FetchedBy], manifest: Path) -> None:
    folder, lock = manifest.parent, Path(spec["lock"])
    write_json(manifest, fetch(spec["source"], folder, lock, fetched_by))


if __name__ == "__main__":
    run(main)
