"""In a child process: ask the engine what models take, without their weights.

`python -m llmpi.gguf.no_alloc JOB OUT`. Each model is asked in a process of its own that this one
forks: the engine is loaded once for all, and one that aborts takes nothing with it.
"""

import ctypes
import errno
import json
import math
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from llmpi.engine import info, shards
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.params import FLASH_ATTENTION, KV_TYPES, LAZY_MODES, LOAD_MODES, fill
from llmpi.engine.shown import visible
from llmpi.engine.supervise import die_with_parent
from llmpi.errors import CellError
from llmpi.gguf import contents, ggml
from llmpi.gguf.fallbacks import parse_fallbacks
from llmpi.gguf.footprint import (
    PROCESSOR_S,
    Context,
    Described,
    Footprint,
    Quantized,
    Reserved,
    Weight,
    WrittenQuestion,
)
from llmpi.gguf.mix.groups import UNIFORM, BudgetError, choice_of
from llmpi.gguf.quantizers import kinds
from llmpi.quant_types import (
    FTYPES,
    TENSOR_TYPES,
    Budget,
    budget_of,
    type_of,
    wants_imatrix,
)

MEMORY_BYTES = 4 << 30
"""Of one such process. Recurrent states are allocated even so, and a header may say any size."""
SMALL_TOKENS = 256
"""Of a context that is made for its graph alone."""
MIB = 1024.0**2


def main(job: str, out: str) -> None:
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    told = [
        forked(question, Path(out).with_name(f"{i}"), dies_with=asked["dies_with"])
        for i, question in enumerate(asked["questions"])
    ]
    Path(out).write_text(json.dumps(told), encoding="utf-8")


OTHERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGBUS)
"""Signals that a process does not die of by what it reads."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk, and what the process exits with that has one."""


def forked(question: WrittenQuestion, stem: Path, *, dies_with: bool) -> Footprint | str:
    """What the engine says in a process of its own; a text in place of what it cannot say.

    Args:
        stem: of the files that it writes.
        dies_with: of what kills that process and is none of the model's, this one dies, too: else
            what is not known of the moment is not known for good.

    Raises:
        OSError: the same for a disk that is full.
    """
    answer, errors = stem.with_suffix(".json"), stem.with_suffix(".err")
    errors.touch()
    bind = die_with_parent()
    if not (child := os.fork()):
        bind()
        _answer(question, stem, answer, errors)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if dies_with and -code in OTHERS:
        with suppress(OSError):  # of SIGKILL, which needs none
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if dies_with and code in FULL:
        raise OSError(code, os.strerror(code), str(stem.parent))
    if code:
        return _death(code, errors.read_text(encoding="utf-8", errors="replace"))
    said: Footprint | str = json.loads(answer.read_text(encoding="utf-8"))
    return said


def _death(code: int, told: str) -> str:
    sys.stderr.write(told)
    if code == -signal.SIGXCPU:
        return f"no end within {PROCESSOR_S} s"
    last = next((line for line in reversed(told.splitlines()) if line.strip()), "no message")
    name = f" of {signal.Signals(-code).name}" if code < 0 else ""
    return visible(f"the engine died{name}: {last}"[:500])


def _answer(question: WrittenQuestion, stem: Path, answer: Path, errors: Path) -> NoReturn:
    code = 1
    try:
        with errors.open("wb") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        said = _said(question, stem)
        answer.write_text(json.dumps(said), encoding="utf-8")
        code = 0
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in FULL:
            code = error.errno
        traceback.print_exc()
        sys.stderr.flush()
    finally:  # never on to the next question, which is the parent's
        os._exit(code)


def _said(question: WrittenQuestion, stem: Path) -> Footprint | str:
    try:
        header = question["header"]
        path = Path(header) if isinstance(header, str) else _written(Described(*header), stem)
        contexts = [Context(*context) for context in question["contexts"]]
        return footprint(path, question["quants"], contexts)
    except (RefusedError, ValueError, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        return visible(str(error) or type(error).__name__)


class RefusedError(Exception):
    """The engine said no; its words."""


def footprint(path: Path, quants: Sequence[str], contexts: Sequence[Context]) -> Footprint:
    """As `ask`, in this process, which the engine may abort.

    Raises:
        RefusedError: the engine does not load this file.
        ValueError: it is no GGUF file.
    """
    said: list[str] = []
    info.log_to(said.append)
    parts = shards.parts(path)
    path = parts[0]  # where the others lie, whatever links lead here
    stored = {name: held for part in parts for name, held in contents.stored(part).items()}
    if empty := [name for name, held in stored.items() if 0 in held.shape]:
        raise RefusedError(f"the tensor {empty[0]} has no weights: a dimension is 0")
    with _model(path, said) as model:
        unused = set(UNUSED.findall("".join(said)))
        vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        weights = _weights(model, stored, unused)
        reserved = [_or_reason(_reserved, model, context, said) for context in contexts]
    architecture = _architecture(path)
    return {
        "architecture": visible(architecture),
        "vocabulary": vocabulary,
        "header_bytes": sum(map(_header_bytes, parts)),
        "fields": _fields(path, architecture),
        "weights": weights,
        "quants": {quant: _or_reason(_quantized, path, quant, stored, said) for quant in quants},
        "contexts": reserved,
    }


def _or_reason(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (RefusedError, CellError) as error:
        return visible(str(error))


def _architecture(path: Path) -> str:
    """As the engine has found it, so that it is there."""
    with contents.header(path) as handle:
        key = ggml.base().gguf_find_key(handle, b"general.architecture")
        name: bytes = ggml.base().gguf_get_val_str(handle, key)
        return name.decode("utf-8", "replace")


def _fields(path: Path, architecture: str) -> contents.Fields:
    with contents.header(path) as handle:
        return contents.fields(handle, ("general.architecture", f"{architecture}."))


def _header_bytes(path: Path) -> int:
    with contents.header(path) as handle:
        size: int = ggml.base().gguf_get_data_offset(handle)
        return size


def _written(described: Described, stem: Path) -> Path:
    """The header as a file, whose weights are a hole."""
    path, base = stem.with_suffix(".gguf"), ggml.base()
    header, count = base.gguf_init_empty(), len(described.tensors)
    contents.set_fields(header, described.fields)
    memory = base.ggml_init(ggml.MemoryParams(count * base.ggml_tensor_overhead(), None, True))
    size = 0
    for name, shape in described.tensors:
        kind = ggml.TYPES["float16" if len(shape) > 1 else "float32"]
        sides = (ctypes.c_int64 * len(shape))(*shape[::-1])
        tensor = base.ggml_new_tensor(memory, kind, len(shape), sides)
        base.ggml_set_name(tensor, name.encode())
        base.gguf_add_tensor(header, tensor)
        size += _padded(base.ggml_nbytes(tensor))
    if not base.gguf_write_to_file(header, os.fsencode(path), True):
        raise OSError(f"{path}: cannot be written")
    os.truncate(path, path.stat().st_size + size)
    base.ggml_free(memory)
    base.gguf_free(header)
    return path


def _padded(size: int) -> int:
    """As gguf aligns tensors (GGUF_DEFAULT_ALIGNMENT)."""
    return -(-size // 32) * 32


def _reason(said: Sequence[str]) -> str:
    """Why the engine refused, from the last of what it said."""
    lines = [line for line in "".join(said).splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "error loading model" in line), None)
    return re.sub(r"^\w+: ", "", told or (lines or ["no message"])[-1])


@contextmanager
def _model(path: Path, said: list[str]) -> Iterator[int]:
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    # By any other mode the engine maps the file, which goes with weights only, and aborts.
    fill(params, no_alloc=True, load_mode=LOAD_MODES[False, False], use_extra_bufts=False)
    fill(params, lazy_mode=LAZY_MODES["on"])  # shows which tensors are marked for it
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise RefusedError(_reason(said))
    yield model
    llama_cpp.llama_model_free(model)


# --- contexts -------------------------------------------------------------------------------------

UNUSED = re.compile(r"model has unused tensor (\S+) \(size")
WINDOWS = "creating     SWA KV cache"
CACHE = re.compile(r"^(\w+): (?:.*, )?size = +([\d.]+) MiB", re.MULTILINE)
COMPUTE = re.compile(r"compute buffer size = +([\d.]+) MiB")


def _reserved(model: int, asked: Context, said: list[str]) -> Reserved:
    whole = _reserve(model, asked, asked.ubatch_tokens, 0, said)
    caches = [(who, _bytes(mib)) for who, mib in CACHE.findall(whole)]
    kv = sum(size for who, size in caches if "kv_cache" in who)
    windows = CACHE.findall(whole.partition(WINDOWS)[2])
    tokens = min(asked.at_once or asked.ubatch_tokens, asked.ubatch_tokens)
    touched = _reserve(model, asked, tokens, asked.slots or 1, said)
    return {
        "kv_bytes": kv,
        "state_bytes": sum(size for _, size in caches) - kv,
        "window_bytes": sum(_bytes(mib) for who, mib in windows if "kv_cache" in who),
        "compute_bytes": sum(map(_bytes, COMPUTE.findall(whole))),
        "touched_bytes": sum(map(_bytes, COMPUTE.findall(touched))),
    }


def _bytes(mib: str) -> int:
    return round(float(mib) * MIB)


def _reserve(model: int, asked: Context, ubatch: int, outputs: int, said: list[str]) -> str:
    """What the engine says while it makes a context."""
    said.clear()
    if context := llama_cpp.llama_init_from_model(model, _params(asked, ubatch, outputs)):
        llama_cpp.llama_free(context)
        return "".join(said)
    raise RefusedError(_reason(said))


def _params(asked: Context, ubatch: int, outputs: int) -> Any:
    params = llama_cpp.llama_context_default_params()
    fill(
        params,
        n_ctx=asked.tokens,
        n_batch=asked.batch_tokens,
        n_ubatch=ubatch,
        n_outputs_max=outputs,
        type_k=KV_TYPES[asked.kv_cache],
        type_v=KV_TYPES[asked.kv_cache],
        flash_attn_type=FLASH_ATTENTION[asked.flash_attention],
    )
    if asked.slots:  # common.h has another default for windows than llama.h
        fill(params, n_seq_max=asked.slots, kv_unified=False, swa_full=False)
    return params


# --- weights --------------------------------------------------------------------------------------

VIEWS = ("NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE")
"""Nodes of a graph that compute nothing."""


class Use(NamedTuple):
    """A node of the graph of one token that reads a weight."""

    weight: str
    op: str
    bytes: int
    buffer: int
    """Where the weight would lie."""


def _weights(
    model: int, stored: Mapping[str, contents.Stored], unused: Collection[str]
) -> list[Weight]:
    uses: dict[str, list[Use]] = {name: [] for name in stored}
    for use in _uses(model, stored):
        uses[use.weight].append(use)
    multiplied = {u.buffer for some in uses.values() for u in some if u.op.startswith("MUL_MAT")}
    found = []
    for name, held in stored.items():
        found.append(
            Weight(
                name=name,
                kind=held.kind,
                elements=math.prod(held.shape),
                bytes=_size(held.kind, held),
                read_bytes=sum(use.bytes for use in uses[name]),
                is_loaded=name not in unused,
                is_table={use.op for use in uses[name]} == {"GET_ROWS"},
                # What is read on demand has a buffer of its own.
                is_marked=any(use.buffer not in multiplied for use in uses[name]),
                multiplies=any(use.op.startswith("MUL_MAT") for use in uses[name]),
            )
        )
    return found


def _uses(model: int, names: Container[str]) -> Iterator[Use]:
    """Who reads a weight in the graph of one token (llama-ext.h, llama_graph_reserve)."""
    base, graph_reserve = _graphs()
    small = Context(SMALL_TOKENS)
    context = llama_cpp.llama_init_from_model(model, _params(small, small.ubatch_tokens, 0))
    if not context:
        raise RefusedError("the engine makes no context of this model")
    graph = graph_reserve(context, 1, 1, 1)
    for i in range(base.ggml_graph_n_nodes(graph)):
        node = base.ggml_graph_node(graph, i).contents
        op = base.ggml_op_name(node.op).decode()
        if op in VIEWS:
            continue
        for source in filter(None, node.src):
            owner = source.contents
            while owner.view_src:
                owner = owner.view_src.contents
            name = owner.name.decode("utf-8", "replace")
            if owner.op == 0 and name in names:
                yield Use(name, op, _read(op, node, source), owner.buffer)
    llama_cpp.llama_free(context)


def _read(op: str, node: Any, source: Any) -> int:
    """Bytes of `source` that a node reads: of stacked experts those that are chosen, of a table the
    rows that are looked up."""
    whole: int = ggml.base().ggml_nbytes(source)
    ne = source.contents.ne
    if op == "MUL_MAT_ID":
        return whole // ne[2] * math.prod(node.src[2].contents.ne)
    if op == "ADD_ID":
        return whole // ne[1] * math.prod(node.src[2].contents.ne)
    if op == "GET_ROWS":
        return whole // math.prod(ne[1:4]) * math.prod(node.src[1].contents.ne)
    return whole


@cache
def _graphs() -> tuple[Any, Any]:
    base = ggml.base()
    handle, count = ctypes.c_void_p, ctypes.c_int
    base.ggml_graph_n_nodes.restype, base.ggml_graph_n_nodes.argtypes = count, [handle]
    base.ggml_graph_node.restype = ggml.TensorPointer
    base.ggml_graph_node.argtypes = [handle, count]
    # It is C++ that takes and gives what C does; its name says so (Itanium ABI).
    reserve = llama_cpp._lib._Z19llama_graph_reserveP13llama_contextjjj
    reserve.restype, reserve.argtypes = handle, [handle, *[ctypes.c_uint32] * 3]
    return base, reserve


# --- types ----------------------------------------------------------------------------------------

TYPED = re.compile(
    r"^\[ *\d+/ *\d+\] (?P<name>\S+) +- \[[^\]]*\], type = +(?P<now>\S+), size = +[\d.]+ MiB"
    r"(?: -> +[\d.]+ MiB \((?P<then>\S+)\))?$",
    re.MULTILINE,
)


def _quantized(
    path: Path, quant: str, stored: Mapping[str, contents.Stored], said: list[str]
) -> Quantized:
    if budget := budget_of(quant):
        return _mixed(budget, quant, _quantized(path, UNIFORM, stored, said), path, stored)
    said.clear()
    params = llama_cpp.llama_model_quantize_default_params()
    fill(params, ftype=FTYPES[type_of(quant)], dry_run=True, allow_requantize=True)
    if wants_imatrix(quant):  # that there is one changes types; what it holds does not
        params.imatrix = (llama_cpp.llama_model_imatrix_data * 1)()
    if llama_cpp.llama_model_quantize(os.fsencode(path), b"", params) != 0:
        raise RefusedError(_reason(said))
    text = "".join(said)
    found = {match["name"]: match["then"] or match["now"] for match in TYPED.finditer(text)}
    if found.keys() != stored.keys():
        raise RefusedError("this llmpi does not understand this engine's dry run")
    types = [found[name].upper() for name in stored]
    return {
        "kinds": types,
        "sizes": [_size(kind, held) for kind, held in zip(types, stored.values(), strict=True)],
        "fallbacks": len(parse_fallbacks(text)),
    }


def _mixed(
    budget: Budget,
    quant: str,
    uniform: Quantized,
    path: Path,
    stored: Mapping[str, contents.Stored],
) -> Quantized:
    """What a mix will weigh: as much as its budget lets it, whatever types a search finds."""
    from llmpi.gguf.mix.solver import as_expected  # with numpy, for mixes alone

    if budget.loss_nats:
        raise RefusedError(f"{quant}: how large it is, only its search tells")
    if budget.device:
        raise RefusedError(f"{quant}: how large it is, the rates of {budget.device} tell")
    matrix = [name for name in stored if name.startswith("blk.")] if wants_imatrix(quant) else []
    groups, limit = choice_of(
        stored,
        uniform["kinds"],
        budget,
        header_bytes=_header_bytes(path),
        asked=TENSOR_TYPES,
        weighted=matrix,
    )
    try:
        types = as_expected(groups, limit)
    except BudgetError as error:
        raise RefusedError(f"{quant}: {error}") from None
    kinds_of = {name: types[group.name] for group in groups for name in group.tensors}
    made = [kinds_of.get(n, kind) for n, kind in zip(stored, uniform["kinds"], strict=True)]
    sizes = [_size(kind, held) for kind, held in zip(made, stored.values(), strict=True)]
    return {"kinds": made, "sizes": sizes, "fallbacks": 0}


def _size(kind: str, held: contents.Stored) -> int:
    """Bytes of a tensor in a type."""
    block = kinds()[kind]
    return math.prod(held.shape) // block.block * block.block_bytes


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
