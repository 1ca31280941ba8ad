"""Find which type each group of tensors of a mix is to get."""

from pathlib import Path

from llmpi.engine.records import Failed, Rates
from llmpi.gguf.mix.search import search
from llmpi.gguf.records import Gguf, Imatrix
from llmpi.quality.divergence.records import Corpus
from llmpi.quant_types import TensorType
from llmpi.records import read, write_json
from llmpi.script import run


def main(
    *,
    base: Path,
    base_manifest: Gguf | Failed,
    corpus: Corpus,
    imatrix: list[Path],
    rates: Rates | Failed | None,
    quant: str,
    windows: int,
    types: list[TensorType],
    threads: int,
    mix: Path,
) -> None:
    matrix, about = (imatrix[0], read(imatrix[1], Imatrix | Failed)) if imatrix else (None, None)
    found = search(
        base,
        base_manifest,
        quant,
        corpus["text"],
        matrix,
        about,
        rates,
        windows=windows,
        types=types,
        partial=mix.with_suffix(".parts"),
        threads=threads,
    )
    write_json(mix, found)


if __name__ == "__main__":
    run(main)
