"""Load the questions of a quality task and draw its sample."""

from pathlib import Path

from llmpi.quality.squad.questions import Asked, prepare
from llmpi.records import write_json
from llmpi.script import run


def main(*, spec: Asked, questions: Path) -> None:
    write_json(questions, prepare(spec["source"], Path(spec["lock"])))


if __name__ == "__main__":
    run(main)
