"""Build the llmpi wheel that goes to the devices."""

from pathlib import Path

from llmpi.remote.wheel import build
from llmpi.script import job


def main(*, project: Path, wheel: Path) -> None:
    build(project, wheel)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            project=Path(snakemake.input.pyproject).parent,
            wheel=Path(snakemake.output.wheel),
        )
