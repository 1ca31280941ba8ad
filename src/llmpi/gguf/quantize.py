"""Quantize a GGUF file with the engine's own quantizer, and write its manifest.

The quantizer runs in a child process (`python -m llmpi.gguf.quantize`): it may die of a signal.
"""

import ctypes
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from llmpi.accidents import check_room, supervise
from llmpi.device.machine import capacity
from llmpi.engine.progress import Progress
from llmpi.engine.records import Engine, Failed
from llmpi.engine.supervise import Death
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.fallbacks import parse_fallbacks
from llmpi.gguf.inspect import inspect
from llmpi.gguf.mix.groups import UNIFORM
from llmpi.gguf.mix.made import called, check_made, file_type, tensor_types, types_of, used
from llmpi.gguf.records import Fallback, Gguf, Imatrix, MatrixUsed, Mix, Start
from llmpi.quant_types import (
    FLOATS,
    FTYPES,
    IMATRIX,
    NEEDS_IMATRIX,
    ON_LATTICE,
    is_mix,
    least_bytes,
    type_of,
    wants_imatrix,
)
from llmpi.records import failed, now, sha256_of, whole_file

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

# llama-quant.cpp, llama_model_quantize_impl
TENSOR = re.compile(r"\[ *(?P<number>\d+)/ *(?P<of>\d+)\] ")


class Job(TypedDict):
    """What the child is to do."""

    source: str
    out: str
    ftype: int
    imatrix: str | None
    types: dict[str, str]
    """Of a mix: of each tensor that is quantized."""
    file_type: int | None
    """What a mix calls itself."""
    threads: int


class Done(TypedDict):
    """What the child writes."""

    engine: Engine


def quantize(
    source: Path,
    source_manifest: Start | Failed,
    out: Path,
    quant: str,
    imatrix: Path | None = None,
    imatrix_manifest: Imatrix | Failed | None = None,
    mix: Mix | Failed | None = None,
    *,
    threads: int | None = None,
    parameters: int = 0,
    fetched_sha256: str | None = None,
) -> Gguf | Failed:
    """Make `out` from `source` and return its manifest.

    Never raises for what the engine does of itself: a quantization that fails leaves an empty file
    and a manifest with status `failed`, so that the rest of a sweep goes on.

    Args:
        source: GGUF of any type; what is quantized already is dequantized first.
        source_manifest: of `source`, of which hash and lineage count; a failed one is passed on.
        quant: a name of `FTYPES` or a mix; `+imatrix` behind it asks for an importance matrix.
        imatrix, imatrix_manifest: of `llmpi.gguf.calibrate`, for a variant that asks for one; a
            failed manifest is passed on.
        mix: of `llmpi.gguf.mix.search`, for a mix; a failed one is passed on.
        threads: by default one for each core.
        parameters: of `source`, where they are known: is there room for what is made of it?
        fetched_sha256: of the files as they were fetched, where `source` is one of them.

    Raises:
        LlmpiError: the variant and the matrix do not go together, or the type needs one.
        AccidentError: the memory or the disk did not suffice; nothing is left.
    """
    check_imatrix(quant, source_manifest, imatrix_manifest)
    _check_mix(quant, source_manifest, imatrix_manifest, mix)
    for needed in (source_manifest, imatrix_manifest, mix):
        if needed and needed["status"] != "ok":
            out.touch()
            return needed
    assert source_manifest["status"] == "ok" and not (mix and mix["status"] != "ok")
    try:
        with whole_file(out) as partial:
            check_room(out.parent, least_bytes(quant, parameters), out.name)
            fallbacks, engine = _run(source, partial, quant, imatrix, mix, threads)
            if mix:
                check_made(partial, mix)
            on_lattice = _on_lattice(source, partial, quant)
            facts = inspect(partial)
    except CellError as error:
        out.write_bytes(b"")
        return failed("quantize", str(error))
    return {
        "status": "ok",
        "quant": quant,
        "sha256": sha256_of(out),
        "bytes": out.stat().st_size,
        "parts": [],
        **facts,
        "fallbacks": fallbacks,
        "lineage": [*source_manifest["lineage"], quant],
        "source": {"sha256": source_manifest["sha256"], "manifest_sha256": fetched_sha256},
        "imatrix": matrix_used(imatrix_manifest) if imatrix_manifest else None,
        "engine": engine,
        "converter": None,
        "training": None,
        "mix": used(mix) if mix else None,
        "rounding": None,
        "lattice_tensors": on_lattice,
        "made": now(),
    }


def _on_lattice(source: Path, made: Path, quant: str) -> int | None:
    if type_of(quant) not in (*FLOATS, ON_LATTICE):
        return None
    from llmpi.gguf.lattice import keep_lattice, tensors_on_lattice

    return tensors_on_lattice(made) if type_of(quant) in FLOATS else keep_lattice(source, made)


def _check_mix(
    quant: str, source: Start | Failed, matrix: Imatrix | Failed | None, mix: Mix | Failed | None
) -> None:
    if is_mix(quant) != bool(mix):
        raise LlmpiError(
            f"{quant} is a mix, and none was searched for"
            if is_mix(quant)
            else f"{quant} is no mix, and one was searched for"
        )
    if mix is None or mix["status"] != "ok" or source["status"] != "ok":
        return
    by = mix["imatrix"]["sha256"] if mix["imatrix"] else None
    given = matrix["sha256"] if matrix and matrix["status"] == "ok" else None
    if (mix["quant"], mix["source"]["sha256"], by) != (quant, source["sha256"], given):
        raise LlmpiError(
            f"{quant}: its types were searched for another file, matrix or budget than what is to "
            "be quantized; delete the search and run again"
        )


def matrix_used(matrix: Imatrix | Failed) -> MatrixUsed:
    """What the manifest of a file says of the matrix that it was made by."""
    assert matrix["status"] == "ok"
    return {
        "sha256": matrix["sha256"],
        "corpus_sha256": matrix["corpus_sha256"],
        "chunks": matrix["chunks"],
    }


def check_imatrix(quant: str, source: Start | Failed, matrix: Imatrix | Failed | None) -> None:
    """
    Raises:
        LlmpiError: a variant and its matrix do not go together.
    """
    if type_of(quant) in NEEDS_IMATRIX and not wants_imatrix(quant):
        raise LlmpiError(
            f"{quant} cannot be made without an importance matrix: write {quant}{IMATRIX}"
        )
    if wants_imatrix(quant) and not matrix:
        raise LlmpiError(f"{quant} asks for an importance matrix, and there is none")
    if matrix and not wants_imatrix(quant):
        raise LlmpiError(f"{quant} has an importance matrix: write {quant}{IMATRIX}")
    if matrix is None or matrix["status"] != "ok" or source["status"] != "ok":
        return
    if matrix["source"]["sha256"] != source["sha256"]:
        raise LlmpiError(
            f"{quant}: the importance matrix was made of another file than the one to quantize "
            f"({matrix['source']['sha256']}, not {source['sha256']}); delete it and run again"
        )


def _run(
    source: Path,
    partial: Path,
    quant: str,
    imatrix: Path | None,
    mix: Mix | None,
    threads: int | None,
) -> tuple[list[Fallback], Engine]:
    lines: list[str] = []
    threads = threads or capacity.processors()

    progress: Progress | None = None

    def keep(line: str) -> None:
        nonlocal progress
        lines.append(line)
        log.debug("%s", line.rstrip())
        if found := TENSOR.match(line):
            # Of several passes over the tensors each counts by itself.
            if progress is None or found["number"] == "1":
                progress = Progress(int(found["of"]), f"tensors to {quant}", say=log.info)
            progress.at(int(found["number"]))

    job: Job = {
        "source": str(source),
        "out": str(partial),
        "ftype": FTYPES[UNIFORM if mix else type_of(quant)],
        "imatrix": str(imatrix) if imatrix else None,
        "types": types_of(mix) if mix else {},
        "file_type": file_type(mix) if mix else None,
        "threads": threads,
    }
    log.info("%s with %d threads", quant, threads)
    outcome = supervise(__name__, job, writes=Done, log=keep)
    if isinstance(outcome, Death):
        raise CellError(outcome.reason)
    return parse_fallbacks("\n".join(lines)), outcome["engine"]


def matrix_data(means: "Mapping[str, np.ndarray]") -> Any:
    """Second moments as `llama_model_quantize` takes them: an array of `llama_model_imatrix_data`
    that ends with a nameless one. It points into `means` (float32), which must outlive it.
    """
    from llmpi.engine.low_level import llama_cpp

    entries = [
        llama_cpp.llama_model_imatrix_data(
            name.encode(), values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), values.size
        )
        for name, values in means.items()
    ]
    end = llama_cpp.llama_model_imatrix_data(None, None, 0)
    return (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))(*entries, end)


def main(job: str, out: str) -> None:
    """In the child: quantize, and say which engine did it."""
    from llmpi.engine import info as engine_info
    from llmpi.engine.low_level import llama_cpp

    engine_info.log_to(sys.stderr.write)
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = asked["ftype"]
    params.nthread = asked["threads"]
    params.allow_requantize = True
    if asked["imatrix"]:
        from llmpi.gguf.imatrix import read

        held = read(Path(asked["imatrix"]))
        means = {name: found.means.astype("float32") for name, found in held.items()}
        params.imatrix = matrix_data(means)
    if asked["file_type"] is not None:
        params.tt_overrides = tensor_types(asked["types"])
        params.kv_overrides = called(asked["file_type"])
    code = llama_cpp.llama_model_quantize(
        os.fsencode(asked["source"]), os.fsencode(asked["out"]), params
    )
    sys.stderr.flush()
    if code != 0:
        sys.exit(1)
    done: Done = {"engine": engine_info.describe()}
    Path(out).write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
