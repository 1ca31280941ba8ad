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
from typing import TypeVar

from typing_extensions import TypedDict, TypeForm

from llmpi import records
from llmpi.accidents import supervise
from llmpi.engine.supervise import Death
from llmpi.errors import CellError
from llmpi.gguf.records import Checkpoint
from llmpi.quality.records import Json

log = logging.getLogger(__name__)
Kind = TypeVar("Kind")

# Bits of the types of the safetensors format (safetensors, tensor.rs, Dtype).
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8} | {
    f"{kind}{bits}": bits for kind in ("F", "I", "U") for bits in (16, 32, 64)
}
BITS["BF16"] = 16
FLOATS = ("BF16", "F16", "F32", "F64")
HEADER_LIMIT_BYTES = 100_000_000  # safetensors, tensor.rs, MAX_HEADER_SIZE
INDEX = "model.safetensors.index.json"
PACKED_PER_BYTE = 4  # ternary weights in a byte (transformers, integrations/bitnet.py)


class Quantization(TypedDict, total=False):
    """Of config.json, as far as it matters here."""

    quant_method: str
    linear_class: str
    use_rms_norm: bool


class Config(TypedDict, total=False):
    """Of config.json, as far as it matters here."""

    architectures: list[str] | None
    model_type: str
    hidden_act: str
    quantization_config: Quantization | None


class Index(TypedDict, total=False):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


class Tensor(TypedDict):
    """As the header of a safetensors file holds it."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


Tensors = dict[str, Tensor]
"""By name."""


class Outcome(TypedDict):
    """What the child writes: the facts, or what is wrong."""

    facts: Checkpoint | None
    refused: str


def check(folder: Path) -> Checkpoint:
    """What a conversion must know of the checkpoint in `folder`.

    Raises:
        CellError: a shard is missing or cut short, a tensor has a type that is no float, or the
            engine would compute something else than this model.
    """
    job = {"folder": str(folder)}
    ended = supervise(__name__, job, writes=Outcome, log=lambda line: log.debug("%s", line))
    if isinstance(ended, Death):
        raise CellError(
            f"{folder}: the checkpoint cannot be read: its headers are damaged or too large"
        )
    if ended["facts"] is None:
        raise CellError(f"{folder}: {ended['refused']}")
    return ended["facts"]


def facts(folder: Path) -> Checkpoint:
    """As `check`, in this process; messages do not name the folder."""
    config = _read(folder, "config.json", Config)
    architecture = next(iter(config.get("architectures") or []), None)
    if not architecture:
        raise CellError("config.json names no architecture ('architectures')")
    quantization = config.get("quantization_config") or Quantization()
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
    if not parameters.total():
        raise CellError("its tensors hold no weights: a dimension is 0")
    return {
        "architecture": architecture,
        "dtype": parameters.most_common(1)[0][0],
        "parameters": parameters.total(),
        "vectors": vectors,
    }


def _check_bitnet(config: Config, architecture: str, quantization: Quantization) -> None:
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


def _wrong_dtype(shard: str, name: str, dtype: str, quantization: Quantization) -> str:
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
    named = _read(folder, INDEX, Index).get("weight_map") if (folder / INDEX).exists() else None
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
        header = _parse(file.read(length), path.name, dict[str, Json])
    header.pop("__metadata__", None)
    tensors = _parse(json.dumps(header), path.name, Tensors)
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


def _read(folder: Path, name: str, kind: TypeForm[Kind]) -> Kind:
    if not (folder / name).is_file():
        raise CellError(f"{name} is missing")
    return _parse((folder / name).read_bytes(), name, kind)


def _parse(raw: bytes | str, name: str, kind: TypeForm[Kind]) -> Kind:
    try:
        return records.check(raw, kind, f"{name} is damaged")
    except records.RecordError as error:
        raise CellError(str(error)) from None


def main(job: str, out: str) -> None:
    folder = Path(json.loads(Path(job).read_text(encoding="utf-8"))["folder"])
    outcome: Outcome = {"facts": None, "refused": ""}
    try:
        outcome["facts"] = facts(folder)
    except CellError as error:
        outcome["refused"] = str(error)
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
