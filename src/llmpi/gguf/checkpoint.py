"""What a safetensors checkpoint says of itself, and whether it is whole; no weight is read.

A checkpoint from outside is untrusted input, so it is read in a child process
(`python -m llmpi.gguf.checkpoint`).
"""

import json
import logging
import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from llmpi.engine.supervise import Death, supervise
from llmpi.errors import CellError
from llmpi.records import Record

log = logging.getLogger(__name__)

# Bits of the types of the safetensors format (safetensors, tensor.rs, Dtype).
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8} | {
    f"{kind}{bits}": bits for kind in ("F", "I", "U") for bits in (16, 32, 64)
}
BITS["BF16"] = 16
FLOATS = ("BF16", "F16", "F32", "F64")
HEADER_LIMIT_BYTES = 100_000_000  # safetensors, tensor.rs, MAX_HEADER_SIZE
INDEX = "model.safetensors.index.json"
PACKED_PER_BYTE = 4  # ternary weights in a byte (transformers, integrations/bitnet.py)

Tensors = dict[str, dict[str, Any]]
"""Name -> dtype, shape and data_offsets, as the header of a safetensors file holds them."""


def check(folder: Path) -> Record:
    """What a conversion must know of the checkpoint in `folder`.

    Returns:
        `architecture` (as config.json says it), `dtype` (that of most parameters; TERNARY for
        packed BitNet weights), `parameters` (count) and `vectors` (those of one-dimensional
        tensors).

    Raises:
        CellError: a shard is missing or cut short, a tensor has a type that is no float, or the
            engine would compute something else than this model.
    """
    outcome = supervise(__name__, {"folder": str(folder)}, log=lambda line: log.debug("%s", line))
    if isinstance(outcome, Death):
        raise CellError(
            f"{folder}: the checkpoint cannot be read: its headers are damaged or too large"
        )
    if "refused" in outcome:
        raise CellError(f"{folder}: {outcome['refused']}")
    return outcome


def facts(folder: Path) -> Record:
    """As `check`, in this process; messages do not name the folder."""
    config = _json(folder, "config.json")
    architecture = next(iter(config.get("architectures") or []), None)
    if not architecture:
        raise CellError("config.json names no architecture ('architectures')")
    quantization = config.get("quantization_config") or {}
    _check_bitnet(config, architecture, quantization)
    packed = quantization.get("quant_method") == "bitnet"
    parameters: Counter[str] = Counter()
    vectors = 0
    for shard, tensors in shards(folder).items():
        for name, tensor in tensors.items():
            count = math.prod(tensor["shape"])
            if packed and tensor["dtype"] == "U8" and name.endswith(".weight"):
                parameters["TERNARY"] += count * PACKED_PER_BYTE
            elif tensor["dtype"] in FLOATS:
                parameters[tensor["dtype"]] += count
                vectors += count if len(tensor["shape"]) < 2 else 0
            else:
                raise CellError(_wrong_dtype(shard, name, tensor["dtype"], quantization))
    return {
        "architecture": architecture,
        "dtype": parameters.most_common(1)[0][0],
        "parameters": parameters.total(),
        "vectors": vectors,
    }


def _check_bitnet(config: Record, architecture: str, quantization: Record) -> None:
    """Refuse what the engine would compute otherwise than its authors do, without a word.

    llama.cpp's graph of BitNet (src/models/bitnet.cpp) has silu, its converter (conversion/) takes
    a packed weight's scale for a divisor, as transformers' BitLinear does; AutoBitLinear, of the
    other `linear_class`, multiplies.
    """
    is_bitnet = architecture.lower() == "bitnetforcausallm"
    default = "relu2" if config.get("model_type") == "bitnet" else "silu"
    activation = config.get("hidden_act", default)
    if is_bitnet and activation != "silu":
        raise CellError(
            f"this BitNet's activation ('hidden_act') is {activation}, as in Microsoft's 2B-4T, "
            "but this engine computes every BitNet with silu; only bitnet.cpp can run it"
        )
    if quantization.get("quant_method") != "bitnet":
        return
    linear = quantization.get("linear_class", "bitlinear")
    if linear != "bitlinear" or quantization.get("use_rms_norm") or is_bitnet:
        raise CellError(
            f"llama.cpp's converter does not know this packing of {architecture} "
            f"(quantization_config: linear_class {linear}"
            f"{', use_rms_norm' if quantization.get('use_rms_norm') else ''}); it knows ternary "
            "weights in a Llama, as HF1BitLLM's Llama3-8B-1.58 has them, and float ones in a "
            "BitNet, as 1bitLLM has them"
        )


def _wrong_dtype(shard: str, name: str, dtype: str, quantization: Record) -> str:
    method = quantization.get("quant_method")
    why = f"; the checkpoint is quantized already ({method})" if method else ""
    return (
        f"{shard}: tensor {name} is of type {dtype}, not one of {', '.join(FLOATS)}{why}. "
        "Take the model's float checkpoint."
    )


# --- files ----------------------------------------------------------------------------------------


def shards(folder: Path) -> dict[str, Tensors]:
    """File name -> its tensors, for those files that llama.cpp's converter reads.

    Raises:
        CellError: one is missing, is cut short or does not hold what the index says.
    """
    named = _json(folder, INDEX).get("weight_map") if (folder / INDEX).exists() else None
    if named is None:
        return {name: read_header(folder / name) for name in _unindexed(folder)}
    found = {}
    for name in sorted(set(named.values())):
        if Path(name).name != name:
            raise CellError(f"{INDEX} names a file outside the folder: {name!r}")
        if not (folder / name).is_file():
            count = sum(file == name for file in named.values())
            raise CellError(f"the shard {name} is missing; {INDEX} says it holds {count} tensors")
        found[name] = read_header(folder / name)
    for tensor, name in named.items():
        if tensor not in found[name]:
            raise CellError(f"{name} does not hold {tensor}, as {INDEX} says")
    return found


def _unindexed(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.glob("model*.safetensors"))
    if not names:
        raise CellError("it holds no weights named model*.safetensors")
    for name in names:
        if match := re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.safetensors", name):
            stem, count = match[1], int(match[2])
            for number in range(1, count + 1):
                part = f"{stem}-{number:05d}-of-{match[2]}.safetensors"
                if part not in names:
                    raise CellError(f"the shard {part} is missing (and so is {INDEX})")
    return names


def read_header(path: Path) -> Tensors:
    """The tensors of one safetensors file, whose size must be what its header says.

    Raises:
        CellError: naming the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, HEADER_LIMIT_BYTES):
            raise CellError(f"{path.name} is no safetensors file, or is cut short")
        header = _parse(file.read(length), path.name)
    tensors = {name: held for name, held in header.items() if name != "__metadata__"}
    end = 0
    for name, tensor in tensors.items():
        dtype, (first, last) = tensor["dtype"], tensor["data_offsets"]
        if dtype not in BITS:
            raise CellError(f"{path.name}: tensor {name} is of a type not known here: {dtype}")
        if (last - first) * 8 != math.prod(tensor["shape"]) * BITS[dtype]:
            raise CellError(f"{path.name}: tensor {name} has not the bytes of its shape")
        end = max(end, last)
    if size != 8 + length + end:
        raise CellError(
            f"{path.name} has {size:,} bytes, but its header says {8 + length + end:,}: "
            "it is cut short or damaged"
        )
    return tensors


def _json(folder: Path, name: str) -> Record:
    if not (folder / name).is_file():
        raise CellError(f"{name} is missing")
    return _parse((folder / name).read_bytes(), name)


def _parse(raw: bytes, name: str) -> Record:
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise CellError(f"{name} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise CellError(f"{name} is damaged: it holds no JSON object")
    return content


def main(job: str, out: str) -> None:
    folder = Path(json.loads(Path(job).read_text())["folder"])
    try:
        record = facts(folder)
    except CellError as error:
        record = {"refused": str(error)}
    Path(out).write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
