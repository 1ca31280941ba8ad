"""Learn the rounding of a model for a quantization."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf, Imatrix
from llmpi.quality.divergence.records import Corpus
from llmpi.records import read, write_json
from llmpi.script import run
from llmpi.study.training import Rounding
from llmpi.train.rounding.make import learn_rounding


def main(
    *,
    base: Path,
    base_manifest: Gguf | Failed,
    corpus: Corpus,
    imatrix: list[Path],
    quant: str,
    spec: Rounding,
    threads: int,
    checkpoints: Path,
    gguf: Path,
    manifest: Path,
) -> None:
    matrix, about = (imatrix[0], read(imatrix[1], Imatrix | Failed)) if imatrix else (None, None)
    made = learn_rounding(
        base,
        base_manifest,
        gguf,
        quant=quant,
        settings=spec,
        corpus=corpus,
        imatrix=matrix,
        imatrix_manifest=about,
        checkpoints=checkpoints,
        threads=threads,
    )
    write_json(manifest, made)


if __name__ == "__main__":
    run(main)
