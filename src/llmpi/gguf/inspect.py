"""Look inside a GGUF file with the engine's own reader: tensors, types, bits per weight.

A model file from outside is untrusted input and the reader is C, so it runs in a child process
(`python -m llmpi.gguf.inspect`); what decoding reads of it the engine says in a fork of that.
"""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from llmpi.accidents import supervise
from llmpi.engine.supervise import Death
from llmpi.errors import CellError
from llmpi.gguf import ggml
from llmpi.gguf.records import Contents
from llmpi.quant_types import FTYPES

log = logging.getLogger(__name__)


class Header(TypedDict):
    """What the header of a file says beside its tensors."""

    architecture: str | None
    kind: str | None
    """`general.type`: model, adapter, imatrix, mmproj, ...; older files have none, but adapters
    their own."""
    embeds: bool
    """What comes out of it is a vector of a whole text: its outputs are pooled, or each token sees
    those behind it (llama-model.cpp, load_hparams)."""
    file_type: str | None
    tokenizer: bool
    chat_template: bool
    part: int
    """Which of several parts it is, from 0."""
    parts: int


class Inside(TypedDict):
    """What a file holds, its parts together."""

    header: Header
    """Of the first part."""
    contents: Contents


class Job(TypedDict):
    """What the child is to do."""

    paths: list[str]


class Told(TypedDict):
    """What the child writes."""

    inside: Inside
    read_per_token_bytes: int | str
    """A text says why it is not known."""


def inspect(*paths: Path) -> Contents:
    """What a manifest says of a file, or of its parts together.

    Raises:
        CellError: the file is no GGUF, is damaged, or ends before its last tensor does; its parts
            are not those of one file.
    """
    return look(*paths)["contents"]


def look(*paths: Path) -> Inside:
    """The same, and what its header says."""
    for path in paths:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise CellError(f"{path}: this is no GGUF file (it does not begin with 'GGUF')")
    job: Job = {"paths": [*map(str, paths)]}
    outcome = supervise(__name__, job, writes=Told, log=lambda line: log.debug("%s", line))
    if isinstance(outcome, Death):
        raise CellError(f"{paths[0]}: the GGUF file is damaged or cut short ({outcome.reason})")
    inside, read = outcome["inside"], outcome["read_per_token_bytes"]
    if isinstance(read, str):
        log.warning("%s: what a token reads of it is not known: %s", paths[0], read)
        return inside
    return {**inside, "contents": {**inside["contents"], "read_per_token_bytes": read}}


class Sums:
    """What the parts of a file hold together."""

    def __init__(self) -> None:
        self.tensors, self.parameters, self.bytes = Counter[str](), Counter[str](), Counter[str]()

    def add(self, path: Path) -> Header:
        """
        Raises:
            SystemExit: it cannot be read, or is cut short.
        """
        base = ggml.base()
        header = base.gguf_init_from_file(os.fsencode(path), ggml.GgufParams(True, None))
        if not header:
            raise SystemExit(f"the header of {path.name} cannot be read")
        end = data = base.gguf_get_data_offset(header)
        for i in range(base.gguf_get_n_tensors(header)):
            kind = base.gguf_get_tensor_type(header, i)
            n_bytes = base.gguf_get_tensor_size(header, i)
            name = base.ggml_type_name(kind).decode()
            self.tensors[name] += 1
            self.bytes[name] += n_bytes
            self.parameters[name] += (
                n_bytes // base.ggml_type_size(kind) * base.ggml_blck_size(kind)
            )
            end = max(end, data + base.gguf_get_tensor_offset(header, i) + n_bytes)
        said = _header(header)
        base.gguf_free(header)
        if end > path.stat().st_size:
            raise SystemExit(f"{path.name} has {path.stat().st_size} of {end} bytes")
        return said


def facts(paths: Sequence[Path]) -> Inside:
    """As `look`, in this process, for files that are known to be sound; but not what is read to
    decode a token."""
    sums = Sums()
    headers = [sums.add(path) for path in paths]
    for at, (path, header) in enumerate(zip(paths, headers, strict=True)):
        if len(paths) > 1 and (header["part"], header["parts"]) != (at, len(paths)):
            raise SystemExit(
                f"{path.name} is by its header part {header['part'] + 1} of {header['parts']}"
            )
    if not sums.tensors:
        raise SystemExit("it holds no tensors")
    parameters = sums.parameters.total()
    if not parameters:
        raise SystemExit("its tensors hold no weights: a dimension is 0")
    first = headers[0]
    return {
        "header": first,
        "contents": {
            "architecture": first["architecture"],
            "parameters": parameters,
            "bits_per_weight": sums.bytes.total() * 8 / parameters,
            "main_type": sums.parameters.most_common(1)[0][0].upper(),
            "file_type": first["file_type"],
            "read_per_token_bytes": None,
            "tensors_by_type": {
                kind: {"tensors": n, "parameters": sums.parameters[kind], "bytes": sums.bytes[kind]}
                for kind, n in sums.tensors.most_common()
            },
            "chat_template": first["chat_template"],
        },
    }


_UINT16, _UINT32, _BOOL, _STRING = 2, 4, 7, 8
"""gguf_type (gguf.h)."""
_NO_TOKENIZERS = ("no_vocab", "none")
"""llama-vocab.cpp, llama_vocab::impl::load."""
_FILE_TYPES = {number: name for name, number in FTYPES.items()}


def _header(handle: Any) -> Header:  # of ctypes
    base = ggml.base()

    def value(name: bytes, kind: int, get: Any) -> Any:
        key = base.gguf_find_key(handle, name)
        return get(handle, key) if key >= 0 and base.gguf_get_kv_type(handle, key) == kind else None

    def text(name: bytes) -> str | None:
        found = value(name, _STRING, base.gguf_get_val_str)
        return None if found is None else found.decode(errors="replace")

    architecture = text(b"general.architecture")
    own = (architecture or "").encode()
    pooled = value(own + b".pooling_type", _UINT32, base.gguf_get_val_u32)
    causal = value(own + b".attention.causal", _BOOL, base.gguf_get_val_bool)
    tokenizer = text(b"tokenizer.ggml.model")
    return {
        "architecture": architecture,
        "kind": text(b"general.type") or ("adapter" if text(b"adapter.type") else None),
        "embeds": bool(pooled) or causal is False,
        "file_type": _FILE_TYPES.get(value(b"general.file_type", _UINT32, base.gguf_get_val_u32)),
        "tokenizer": tokenizer not in (None, *_NO_TOKENIZERS)
        and base.gguf_find_key(handle, b"tokenizer.ggml.tokens") >= 0,
        "chat_template": bool(text(b"tokenizer.chat_template")),
        "part": value(b"split.no", _UINT16, base.gguf_get_val_u16) or 0,
        "parts": value(b"split.count", _UINT16, base.gguf_get_val_u16) or 1,
    }


def _read_per_token(path: Path, stem: Path) -> int | str:
    from llmpi.gguf import footprint, no_alloc  # with the engine, of which `facts` needs the base

    said = no_alloc.forked(footprint.written(footprint.Question(path)), stem, dies_with=True)
    return said if isinstance(said, str) else sum(w["read_bytes"] for w in said["weights"])


def main(job: str, out: str) -> None:
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    paths = [*map(Path, asked["paths"])]
    found: Told = {
        "inside": facts(paths),
        "read_per_token_bytes": _read_per_token(paths[0], Path(out).with_name("footprint")),
    }
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
