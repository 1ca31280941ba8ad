"""A small model from scratch as F16, as TQ2_0 of that, and trained for TQ2_0."""

from pathlib import Path

from llmpi.gguf.quantize import quantize
from llmpi.records import Record, is_ok, sha256_of, whole_file
from llmpi.train.qat import train_qat
from llmpi.train.small import Small, write_start


def small_models(
    tokenizer: Path, folder: Path, *, size: Small, spec: Record, corpus: Record
) -> dict[str, Record]:
    """Make `F16.gguf`, `PTQ.gguf` and `QAT.gguf` in `folder`, and return their manifests by name.

    Args:
        tokenizer: a sound GGUF file whose byte-pair vocabulary is used.
        spec: fields of `llmpi.study.Training`, for both trainings.
        corpus: of `llmpi.quality.divergence.corpus.load_corpus`.

    Raises:
        LlmpiError: the tokenizer is of another kind, `spec` is wrong, or the text too short.
    """
    start = folder / "start.gguf"
    with whole_file(start) as partial:
        write_start(tokenizer, partial, size, spec.get("seed", 0))
    manifest = {"status": "ok", "sha256": sha256_of(start), "lineage": ["scratch"]}
    made: dict[str, Record] = {}
    for name, quant in (("F16", "F16"), ("QAT", "TQ2_0")):
        made[name] = train_qat(
            start,
            manifest,
            folder / f"{name}.gguf",
            quant=quant,
            spec={**spec, "distill": False},
            corpus=corpus,
            checkpoints=folder / f"{name}.checkpoints",
        )
    made["PTQ"] = quantize(folder / "F16.gguf", made["F16"], folder / "PTQ.gguf", "TQ2_0")
    if all(map(is_ok, made.values())):
        start.unlink()
    return made
