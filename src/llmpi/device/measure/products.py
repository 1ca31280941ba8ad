"""The engine's own products of a matrix with vectors: how long they take, type by type.

A matrix lies where llama.cpp would load it: in the first buffer of the processor that multiplies
its type, repacked there if that is what the buffer does. Copies of it, more than the caches hold,
are multiplied one after the other in one graph, as a model's matrices are in decoding. With the
vectors of a prompt, all at once, one copy is enough: there the arithmetic takes the time. What they
hold matters where kernels look up what a block's scale is, in a table that a cache holds a part of
(x86: zeros are 6 or 7 % faster than weights). So a few random rows are quantized, over and over.
"""

import ctypes
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from llmpi.device.machine import environment
from llmpi.engine.llama import EngineError
from llmpi.engine.low_level import llama_cpp

PASSES = 3
"""Behind one that warms up; the median counts."""
LEAST_BYTES = 64 << 20
"""Of the copies together: more than the caches of small boards hold."""
TIMES_THE_CACHE = 4
SHARE = 0.25
"""Of the memory that is available, they take no more."""
MOST_COPIES = 4096
TRIED_TOKENS = 512
"""llama.cpp asks of a buffer whether it multiplies with so many (llama-model-loader.cpp)."""
WEIGHTS_QUANTIZED = 1 << 16
"""Of a matrix, at most: some thousand blocks, with as many scales as those of a model have (several
hundred to a thousand in a matrix, of SmolLM2-135M). For all types and two widths that took 7 s
here, most of it the tables that ggml makes for IQ2 types, once."""
F32 = 0
"""GGML_TYPE_F32 (ggml.h)."""
WEIGHTS = 1
"""GGML_BACKEND_BUFFER_USAGE_WEIGHTS (ggml-backend.h)."""
CACHES = environment.SYS / "devices/system/cpu/cpu0/cache"


class _MemoryParams(ctypes.Structure):
    """`struct ggml_init_params` (ggml.h)."""

    _fields_ = [
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    ]


_handle, _index, _size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
_number, _flag, _text = ctypes.c_int, ctypes.c_bool, ctypes.c_char_p
SIGNATURES: dict[str, dict[str, tuple[Any, list[Any]]]] = {
    "libggml-base": {
        "ggml_init": (_handle, [_MemoryParams]),
        "ggml_free": (None, [_handle]),
        "ggml_tensor_overhead": (_size, []),
        "ggml_graph_overhead_custom": (_size, [_size, _flag]),
        "ggml_type_name": (_text, [_number]),
        "ggml_row_size": (_size, [_number, _index]),
        "ggml_quantize_chunk": (
            _size,
            [_number, _handle, _handle, _index, _index, _index, _handle],
        ),
        "ggml_new_tensor_2d": (_handle, [_handle, _number, _index, _index]),
        "ggml_mul_mat": (_handle, [_handle, _handle, _handle]),
        "ggml_new_graph_custom": (_handle, [_handle, _size, _flag]),
        "ggml_build_forward_expand": (None, [_handle, _handle]),
        "ggml_backend_alloc_ctx_tensors_from_buft": (_handle, [_handle, _handle]),
        "ggml_backend_buffer_set_usage": (None, [_handle, _number]),
        "ggml_backend_buffer_free": (None, [_handle]),
        "ggml_backend_tensor_set": (None, [_handle, _handle, _size, _size]),
        "ggml_backend_cpu_buffer_type": (_handle, []),
        "ggml_backend_reg_dev_get": (_handle, [_handle, _size]),
        "ggml_backend_reg_get_proc_address": (_handle, [_handle, _text]),
        "ggml_backend_dev_supports_op": (_flag, [_handle, _handle]),
        "ggml_backend_graph_compute": (_number, [_handle, _handle]),
        "ggml_backend_free": (None, [_handle]),
    },
    "libggml-cpu": {
        "ggml_backend_cpu_reg": (_handle, []),
        "ggml_backend_cpu_init": (_handle, []),
        "ggml_backend_cpu_set_n_threads": (None, [_handle, _number]),
    },
}
BUFFER_TYPES = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
"""`ggml_backend_dev_get_extra_bufts_t` (ggml-backend.h): an array that ends with none."""


class Product(NamedTuple):
    """Of a matrix with a vector, or with some at once."""

    seconds: float
    repacked: bool


class Products:
    """Multiplies.

    Args:
        threads: that compute.
        repack: whether matrices may lie in other layouts than a file's: the engine's own setting.
        elements: weights of the model: no more are multiplied at once.
    """

    def __init__(self, threads: int, *, repack: bool, elements: int) -> None:
        self._base, processor = _library("libggml-base"), _library("libggml-cpu")
        self._elements, self._most_bytes = elements, most_bytes()
        registry = processor.ggml_backend_cpu_reg()
        self._device = self._base.ggml_backend_reg_dev_get(registry, 0)
        self._plain = self._base.ggml_backend_cpu_buffer_type()
        self._others = self._other_layouts(registry) if repack else []
        self._places: dict[tuple[int, int, int], int] = {}
        self._quantized: dict[tuple[int, int], np.ndarray] = {}
        self._backend = processor.ggml_backend_cpu_init()
        processor.ggml_backend_cpu_set_n_threads(self._backend, threads)

    def close(self) -> None:
        self._base.ggml_backend_free(self._backend)

    def time(self, kind: str, rows: int, columns: int, vectors: int = 1) -> Product:
        """One product with a matrix of a type of the engine, read from memory.

        Args:
            vectors: that it is multiplied with at once.

        Raises:
            EngineError: there is no memory for it.
        """
        number = types()[kind]
        place = self._place(number, rows, columns)
        size = rows * self._base.ggml_row_size(number, columns)
        wanted = min(self._elements * size // (rows * columns), self._most_bytes)
        copies = min(max(1, -(-wanted // size)), MOST_COPIES) if vectors == 1 else 1
        seconds = self._seconds(place, number, rows, columns, vectors, copies)
        return Product(seconds / copies, place != self._plain)

    def _seconds(
        self, place: int, number: int, rows: int, columns: int, vectors: int, copies: int
    ) -> float:
        """Of all copies."""
        base, nodes = self._base, 2 * copies + 2
        with ExitStack() as held:
            weights = held.enter_context(self._context(copies))
            results = held.enter_context(self._context(copies + 1, nodes=nodes))
            graph = base.ggml_new_graph_custom(results, nodes, False)
            vector = base.ggml_new_tensor_2d(results, F32, columns, vectors)
            matrices = [
                base.ggml_new_tensor_2d(weights, number, columns, rows) for _ in range(copies)
            ]
            for matrix in matrices:
                base.ggml_build_forward_expand(graph, base.ggml_mul_mat(results, matrix, vector))
            held.enter_context(self._memory(weights, place))
            held.enter_context(self._memory(results, self._plain))
            content = np.resize(
                self._rows(number, columns), (rows, base.ggml_row_size(number, columns))
            )
            for matrix in matrices:
                base.ggml_backend_tensor_set(matrix, content.ctypes.data, 0, content.nbytes)
            ones = np.ones(vectors * columns, np.float32)
            base.ggml_backend_tensor_set(vector, ones.ctypes.data, 0, ones.nbytes)
            self._once(graph)
            return median(self._once(graph) for _ in range(PASSES))

    def _rows(self, number: int, columns: int) -> np.ndarray:
        """Some of a matrix: uint8 [rows, bytes]."""
        if (number, columns) not in self._quantized:
            count = max(1, WEIGHTS_QUANTIZED // columns)
            weights = np.random.default_rng(0).normal(size=(count, columns)).astype(np.float32)
            found = np.empty((count, self._base.ggml_row_size(number, columns)), np.uint8)
            even = np.ones(columns, np.float32)  # an importance, which some types cannot do without
            self._base.ggml_quantize_chunk(
                *(number, weights.ctypes.data, found.ctypes.data),
                *(0, count, columns, even.ctypes.data),
            )
            self._quantized[number, columns] = found
        return self._quantized[number, columns]

    def _once(self, graph: int) -> float:
        start = time.perf_counter()
        if self._base.ggml_backend_graph_compute(self._backend, graph):
            raise EngineError("the engine has no memory to multiply in")
        return time.perf_counter() - start

    def _place(self, number: int, rows: int, columns: int) -> int:
        """Where llama.cpp would have it: the first kind of buffer that multiplies it."""
        key = number, rows, columns
        if key not in self._places:
            fitting = (one for one in self._others if self._multiplies(one, *key))
            self._places[key] = next(fitting, self._plain)
        return self._places[key]

    def _multiplies(self, place: int, number: int, rows: int, columns: int) -> bool:
        base = self._base
        with self._context(1) as weights, self._context(2) as results:
            matrix = base.ggml_new_tensor_2d(weights, number, columns, rows)
            vectors = base.ggml_new_tensor_2d(results, F32, columns, TRIED_TOKENS)
            with self._memory(weights, place):
                product = base.ggml_mul_mat(results, matrix, vectors)
                return bool(base.ggml_backend_dev_supports_op(self._device, product))

    def _other_layouts(self, registry: int) -> list[int]:
        """Kinds of buffers of the processor beside the plain one."""
        name = b"ggml_backend_dev_get_extra_bufts"
        address = self._base.ggml_backend_reg_get_proc_address(registry, name)
        listed = BUFFER_TYPES(address)(self._device) if address else None
        found: list[int] = []
        while listed and (place := listed[len(found)]):
            found.append(place)
        return found

    @contextmanager
    def _context(self, tensors: int, *, nodes: int = 0) -> Iterator[int]:
        """Room for the descriptions of so many tensors, and of a graph."""
        size = tensors * self._base.ggml_tensor_overhead()
        size += self._base.ggml_graph_overhead_custom(nodes, False) if nodes else 0
        context = self._base.ggml_init(_MemoryParams(size, None, True))
        try:
            yield context
        finally:
            self._base.ggml_free(context)

    @contextmanager
    def _memory(self, context: int, place: int) -> Iterator[None]:
        """Memory for the tensors of a context."""
        buffer = self._base.ggml_backend_alloc_ctx_tensors_from_buft(context, place)
        if not buffer:
            raise EngineError("there is no memory for the matrices that are to be timed")
        try:
            self._base.ggml_backend_buffer_set_usage(buffer, WEIGHTS)
            yield
        finally:
            self._base.ggml_backend_buffer_free(buffer)


@cache
def types() -> dict[str, int]:
    """The types of the installed engine, by name, in capitals."""
    count = llama_cpp.llama_model_quantize_default_params().output_tensor_type  # GGML_TYPE_COUNT
    name_of = _library("libggml-base").ggml_type_name
    names = {number: name_of(number) for number in range(count)}
    return {name.decode().upper(): number for number, name in names.items() if name}


def most_bytes() -> int:
    """Of all copies of a matrix: what no cache holds, as far as there is memory."""
    available = environment.memory_available_bytes() or 0
    return min(max(LEAST_BYTES, TIMES_THE_CACHE * largest_cache_bytes()), int(SHARE * available))


def largest_cache_bytes() -> int:
    """Of a processor; 0 where the kernel does not tell."""
    texts = (path.read_text(encoding="utf-8").strip() for path in CACHES.glob("index*/size"))
    return max((int(text[:-1]) << 10 for text in texts if text.endswith("K")), default=0)


@cache
def _library(name: str) -> Any:
    folder = Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(next(iter(sorted(folder.glob(f"{name}.*"))))))
    for function, (result, arguments) in SIGNATURES[name].items():
        found = getattr(library, function)
        found.restype, found.argtypes = result, arguments
    return library
