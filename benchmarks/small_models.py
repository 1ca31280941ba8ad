"""A small model from scratch as F16, as TQ2_0 of that, and trained for TQ2_0."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf, Start
from llmpi.quality.divergence.records import Corpus
from llmpi.records import sha256_of, whole_file
from llmpi.study.training import Training
from llmpi.train.qat import train_qat
from llmpi.train.small import Small, write_start


def small_models(
    tokenizer: Path, folder: Path, *, size: Small, settings: Training, corpus: Corpus
) -> dict[str, Gguf | Failed]:
    """Make `F16.gguf`, `PTQ.gguf` and `QAT.gguf` in `folder`, and return their manifests by name.

    Args:
        tokenizer: a sound GGUF file whose byte-pair vocabulary is used.
        settings: of both trainings, without a teacher.

    Raises:
        LlmpiError: the tokenizer is of another kind, or the text too short.
    """
    start = folder / "start.gguf"
    with whole_file(start) as partial:
        write_start(tokenizer, partial, size, settings.seed)
    manifest: Start = {"status": "ok", "sha256": sha256_of(start), "lineage": ["scratch"]}
    made: dict[str, Gguf | Failed] = {}
    for name, quant in (("F16", "F16"), ("QAT", "TQ2_0")):
        made[name] = train_qat(
            start,
            manifest,
            folder / f"{name}.gguf",
            quant=quant,
            settings=settings.model_copy(update={"distill": False}),
            corpus=corpus,
            checkpoints=folder / f"{name}.checkpoints",
        )
    made["PTQ"] = quantize(folder / "F16.gguf", made["F16"], folder / "PTQ.gguf", "TQ2_0")
    if all(record["status"] == "ok" for record in made.values()):
        start.unlink()
    return made
