"""Bring a fetched model to the F16 GGUF file that every quantization of it starts from."""

from pathlib import Path

from llmpi.errors import LlmpiError
from llmpi.gguf.quantize import quantize
from llmpi.layout import BASE_QUANT
from llmpi.records import Record, is_ok, sha256_of_text


def convert(folder: Path, manifest: Record, out: Path) -> Record:
    """Make `out` from the model in `folder` and return its manifest.

    A GGUF that is quantized already is dequantized; its `lineage` says so, since an F16 made of
    Q4_1 is no reference for what quantization costs. A failed manifest is passed on, beside an
    empty file.

    Raises:
        LlmpiError: the model is a safetensors checkpoint.
    """
    if not is_ok(manifest):
        out.touch()
        return manifest
    if manifest["format"] != "gguf":
        raise LlmpiError(
            f"{folder}: this is a safetensors checkpoint; its conversion to GGUF arrives in a "
            "later version of llmpi. Until then name a GGUF file: 'file' of a hub source, or a "
            "'path'."
        )
    name = manifest["gguf"]["file"]
    source = {
        "status": "ok",
        "sha256": manifest["files"][name]["sha256"],
        "manifest_sha256": sha256_of_text(str(sorted(manifest["files"].items()))),
        "lineage": [manifest["gguf"]["main_type"]],
    }
    return quantize(folder / name, source, out, BASE_QUANT)
