"""The text a divergence task is scored on."""

from pathlib import Path

from llmpi.quality.divergence.corpus import Asked, load_corpus
from llmpi.records import write_json
from llmpi.script import run


def main(*, spec: Asked, corpus: Path) -> None:
    write_json(corpus, load_corpus(spec["source"], Path(spec["lock"])))


if __name__ == "__main__":
    run(main)
