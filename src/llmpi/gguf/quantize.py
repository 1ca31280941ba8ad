"""Quantize a GGUF file with the engine's own quantizer, and write its manifest.

The quantizer runs in a child process (`python -m llmpi.gguf.quantize`): it may die of a signal.
"""

import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from llmpi.device.supervise import Death, supervise
from llmpi.errors import CellError
from llmpi.gguf.inspect import inspect
from llmpi.quant_types import FTYPES
from llmpi.records import Record, failed, is_ok, now, sha256_of, whole_file

log = logging.getLogger(__name__)

# llama-quant.cpp, tensor_type_fallback
FALLBACK = re.compile(
    r"warning: (?P<tensor>\S+) +- ncols +(?P<columns>\d+) not divisible by +\d+ "
    r"\(required for type +(?P<wanted>\S+)\).*?-> falling back to +(?P<got>\S+)"
)
FALLBACK_COUNT = re.compile(r"WARNING: (\d+) of \d+ tensor\(s\) required fallback quantization")


def quantize(source: Path, source_manifest: Record, out: Path, quant: str) -> Record:
    """Make `out` from `source` and return its manifest.

    Never raises for what the engine does: a quantization that fails leaves an empty file and a
    manifest with status `failed`, so that the rest of a sweep goes on. A disk that is full is
    nobody's quantization, and raises.

    Args:
        source: GGUF of any type; what is quantized already is dequantized first.
        source_manifest: of `source`; a failed one is passed on.
        quant: a name of `FTYPES`.

    Raises:
        OSError: the file cannot be written.
    """
    if not is_ok(source_manifest):
        out.touch()
        return source_manifest
    try:
        with whole_file(out) as partial:
            fallbacks, engine = _run(source, partial, quant)
            facts = inspect(partial)
    except CellError as error:
        log.error("%s failed: %s", quant, error)
        out.write_bytes(b"")
        return failed("quantize", str(error), quant=quant)
    return {
        "status": "ok",
        "quant": quant,
        "sha256": sha256_of(out),
        "bytes": out.stat().st_size,
        **facts,
        "fallbacks": fallbacks,
        "lineage": [*source_manifest["lineage"], quant],
        "source": {
            "sha256": source_manifest["sha256"],
            "manifest_sha256": source_manifest.get("manifest_sha256"),
        },
        "engine": engine,
        "made": now(),
    }


def _run(source: Path, partial: Path, quant: str) -> tuple[list[dict[str, str]], Record]:
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        log.debug("%s", line.rstrip())

    job = {"source": str(source), "out": str(partial), "ftype": FTYPES[quant]}
    outcome = supervise(__name__, job, log=keep)
    if isinstance(outcome, Death):
        free = os.statvfs(partial.parent)
        if free.f_bavail * free.f_frsize < 1 << 20:
            raise OSError(f"no space left for {partial.name} in {partial.parent}")
        raise CellError(outcome.reason)
    return parse_fallbacks("\n".join(lines)), outcome["engine"]


def parse_fallbacks(text: str) -> list[dict[str, str]]:
    """Which tensors did not get the type they were meant for, from the quantizer's log.

    Raises:
        CellError: the log counts other fallbacks than it lists; a manifest must not hide any.
    """
    found = [
        {key: match[key] for key in ("tensor", "wanted", "got")}
        for match in FALLBACK.finditer(text)
    ]
    counted = sum(int(count) for count in FALLBACK_COUNT.findall(text))
    if counted != len(found):
        raise CellError(
            f"the quantizer reports {counted} fallbacks, but its log lists {len(found)}; "
            "this llmpi does not understand this engine's log"
        )
    return found


def main(job: str, out: str) -> None:
    """In the child: quantize, and say which engine did it."""
    import llama_cpp

    from llmpi.device import engine_info

    keep_alive = engine_info.log_to(sys.stderr.write)
    spec: dict[str, Any] = json.loads(Path(job).read_text())
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = spec["ftype"]
    params.nthread = os.cpu_count() or 1
    params.allow_requantize = True
    code = llama_cpp.llama_model_quantize(
        os.fsencode(spec["source"]), os.fsencode(spec["out"]), params
    )
    sys.stderr.flush()
    if code != 0:
        sys.exit(1)
    Path(out).write_text(json.dumps({"engine": engine_info.describe()}))
    del keep_alive


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
