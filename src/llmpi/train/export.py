"""From trained weights to a GGUF file, and the proof that it holds what training saw."""

from pathlib import Path

import numpy as np

from llmpi.engine.records import Failed
from llmpi.errors import CellError
from llmpi.gguf import contents, ggml, quantizers
from llmpi.gguf.footprint import Question, ask_one
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf, Start
from llmpi.train.student import Student

TRAINED, QUANTIZED = "trained.gguf", "quantized.gguf"


def kinds_of(base: Path, quant: str) -> dict[str, str]:
    """The type llama.cpp gives each tensor, by name: its quantizer says it of the untrained model,
    and makes nothing of it. Its rules (llama-quant.cpp) look at names, shapes and places.

    Raises:
        CellError: llama.cpp cannot quantize the model to this type.
        AccidentError: the memory or the disk did not suffice.
    """
    said = ask_one(Question(base, [quant]))
    made = said if isinstance(said, str) else said["quants"][quant]
    if isinstance(said, str) or isinstance(made, str):
        raise CellError(f"what {quant} is made of, the engine cannot say: {made}")
    names = [weight["name"] for weight in said["weights"]]
    return dict(zip(names, made["kinds"], strict=True))


def write(
    student: Student,
    base: Path,
    manifest: Start,
    quant: str,
    scratch: Path,
    threads: int | None = None,
) -> Gguf | Failed:
    """Write the trained weights with the metadata of `base` to `TRAINED`, have llama.cpp quantize
    that to `QUANTIZED`, both in `scratch`, and return the manifest of the latter."""
    tensors = {
        name: weight.astype(np.float16) if student.kinds[name] == "F16" else weight
        for name, weight in student.for_the_quantizer().items()
    }
    library = ggml.base()
    header = library.gguf_init_empty()
    try:
        with contents.header(base) as source:
            library.gguf_set_kv(header, source)
        ggml.write(scratch / TRAINED, header, tensors)
    finally:
        library.gguf_free(header)
    trained: Start = {
        "status": "ok",
        "sha256": manifest["sha256"],
        "lineage": [*manifest["lineage"], "QAT"],
    }
    made = quantize(scratch / TRAINED, trained, scratch / QUANTIZED, quant, threads=threads)
    (scratch / TRAINED).unlink()
    return made


def verify(student: Student, path: Path) -> int:
    """Compare every tensor of the file with what training saw: the bytes, and what ggml reads.

    Returns:
        How many tensors there are.

    Raises:
        CellError: one differs.
    """
    found = contents.stored(path)
    if {name: tensor.kind for name, tensor in found.items()} != student.kinds:
        raise CellError("llama.cpp gave the trained model's tensors other types than the base's")
    for name, tensor in found.items():
        seen = student.seen[name].detach().cpu().numpy()
        rows = tensor.data.reshape(seen.size // seen.shape[-1], -1)
        read = quantizers.dequantized(rows, tensor.kind, seen.shape[-1]).reshape(seen.shape)
        same = np.array_equal(tensor.data, student.file_bytes(name))
        if not (same and np.array_equal(read, seen)):
            raise CellError(
                f"{name}: the {tensor.kind} in the file is not the one that training saw; this "
                "llmpi does not quantize as this engine does"
            )
    return len(found)
