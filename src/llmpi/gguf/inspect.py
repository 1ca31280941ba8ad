"""Look inside a GGUF file with the engine's own reader: tensors, types, bits per weight.

A model file from outside is untrusted input and the reader is C, so it runs in a child process
(`python -m llmpi.gguf.inspect`); what decoding reads of it the engine says in another.
"""

import json
import logging
import os
import sys
from collections import Counter
from pathlib import Path

from llmpi.accidents import supervise
from llmpi.engine.supervise import Death
from llmpi.errors import CellError
from llmpi.gguf import footprint, ggml
from llmpi.gguf.records import Contents

log = logging.getLogger(__name__)


def inspect(path: Path) -> Contents:
    """What a manifest says of the file.

    Raises:
        CellError: the file is no GGUF, is damaged, or ends before its last tensor does.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise CellError(f"{path}: this is no GGUF file (it does not begin with 'GGUF')")
    outcome = supervise(
        __name__, {"path": str(path)}, writes=Contents, log=lambda line: log.debug("%s", line)
    )
    if isinstance(outcome, Death):
        raise CellError(f"{path}: the GGUF file is damaged or cut short ({outcome.reason})")
    return {**outcome, "read_per_token_bytes": _read_per_token(path)}


def facts(path: Path) -> Contents:
    """As `inspect`, in this process, for a file that is known to be sound; but not what is read to
    decode a token."""
    base = ggml.base()
    header = base.gguf_init_from_file(os.fsencode(path), ggml.GgufParams(True, None))
    if not header:
        raise SystemExit("the header cannot be read")
    tensors, parameters, size = Counter[str](), Counter[str](), Counter[str]()
    end = data = base.gguf_get_data_offset(header)
    for i in range(base.gguf_get_n_tensors(header)):
        kind = base.gguf_get_tensor_type(header, i)
        n_bytes = base.gguf_get_tensor_size(header, i)
        name = base.ggml_type_name(kind).decode()
        tensors[name] += 1
        size[name] += n_bytes
        parameters[name] += n_bytes // base.ggml_type_size(kind) * base.ggml_blck_size(kind)
        end = max(end, data + base.gguf_get_tensor_offset(header, i) + n_bytes)
    key = base.gguf_find_key(header, b"general.architecture")
    architecture = base.gguf_get_val_str(header, key).decode(errors="replace") if key >= 0 else None
    base.gguf_free(header)
    if not tensors:
        raise SystemExit("it holds no tensors")
    if not parameters.total():
        raise SystemExit("its tensors hold no weights: a dimension is 0")
    if end > path.stat().st_size:
        raise SystemExit(f"it has {path.stat().st_size} of {end} bytes")
    return {
        "architecture": architecture,
        "parameters": parameters.total(),
        "bits_per_weight": size.total() * 8 / parameters.total(),
        "main_type": parameters.most_common(1)[0][0].upper(),
        "read_per_token_bytes": None,
        "tensors_by_type": {
            kind: {"tensors": n, "parameters": parameters[kind], "bytes": size[kind]}
            for kind, n in tensors.most_common()
        },
    }


def _read_per_token(path: Path) -> int | None:
    [said] = footprint.ask([footprint.Question(path)])
    if isinstance(said, str):
        log.warning("%s: what a token reads of it is not known: %s", path, said)
        return None
    return sum(weight["read_bytes"] for weight in said["weights"])


def main(job: str, out: str) -> None:
    path = Path(json.loads(Path(job).read_text(encoding="utf-8"))["path"])
    Path(out).write_text(json.dumps(facts(path)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
