"""Second moments of what a model's weights are multiplied with, while it reads a text.

What counts, and how, is as in llama-imatrix (tools/imatrix/imatrix.cpp, collect_imatrix): every
matrix product with a weight of a block and at least 16 rows, and every product with experts.
"""

from pathlib import Path
from typing import Any

import numpy as np

from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.low_level import llama_cpp
from llmpi.gguf import ggml
from llmpi.gguf.imatrix import Moments
from llmpi.quality.divergence.windows import bos_of, plain_tokens

CHUNK_TOKENS = 512
"""llama-imatrix's n_ctx, and its n_ubatch."""
FEWEST_ROWS = 16
DENSE, EXPERTS = b"MUL_MAT", b"MUL_MAT_ID"


class Collector(Engine):
    """A model whose matrix products are watched while it reads chunks of a text, each from scratch.

    Chunks are read one at a time, where llama-imatrix takes four: the moments are the same, and
    the logits, which neither can do without, need a quarter of the memory.

    Raises:
        EngineError: the file cannot be loaded or the context not be made.
    """

    def __init__(self, gguf: Path, *, threads: int) -> None:
        self.moments: dict[str, Moments] = {}
        self._broken: Exception | None = None
        self._callback = llama_cpp.ggml_backend_sched_eval_callback(self._watch)
        settings = Settings(threads, batch_tokens=CHUNK_TOKENS, ubatch_tokens=CHUNK_TOKENS)
        super().__init__(gguf, settings, context_tokens=CHUNK_TOKENS)
        trained = llama_cpp.llama_model_n_ctx_train(self.model)
        self.chunk_tokens = min(CHUNK_TOKENS, trained)
        """As llama-imatrix's, or what the model was made for, if that is less."""

    def _context_fields(self) -> dict[str, Any]:  # of llama.cpp's structure, whose types are C's
        return {"cb_eval": self._callback, "swa_full": False}

    def plain_tokens(self, text: str) -> np.ndarray:
        """Tokens of `text`, what looks like a special token read as plain text."""
        return plain_tokens(self.vocab, text)

    def read(self, chunk: np.ndarray) -> None:
        """Add the moments of a chunk; its first token gives way to BOS, if the vocabulary has one.

        Args:
            chunk: `chunk_tokens` tokens.

        Raises:
            EngineError: the model computes no finite numbers.
        """
        tokens = chunk.tolist()
        if (bos := bos_of(self.vocab)) is not None:
            tokens[0] = bos
        self.keep(0)
        # All logits are asked for: else the last block computes no more rows than have some.
        self.decode_all(tokens)
        self.synchronize()
        if self._broken:
            raise self._broken

    def _watch(self, address: int, ask: bool, _: Any) -> bool:
        """`ggml_backend_sched_eval_callback`: is this node of interest; and then, here it is.

        An exception cannot pass through the engine: it is kept, and the graph is left there.
        """
        node = ggml.Tensor.from_address(address)
        try:
            if ask:
                return _of_interest(node)
            self._add(node)
        except Exception as error:
            self._broken = error
            return False
        return True

    def _add(self, node: ggml.Tensor) -> None:
        weight, activations = node.src[0].contents, node.src[1].contents
        name, columns = _name(weight), activations.ne[0]
        matrices = weight.ne[2] * weight.ne[3]
        if name not in self.moments:
            zeros = np.zeros((matrices, columns)), np.zeros(matrices, np.int64)
            self.moments[name] = Moments(*zeros)
        found = self.moments[name]
        rows = ggml.values(activations, np.float32)
        if _op(node) == EXPERTS:
            add_experts(found, rows[0], ggml.values(node.src[2].contents, np.int32)[0, 0])
        else:
            add_dense(found, rows, weight.ne[2], weight.ne[3])
        if not np.isfinite(found.sums).all():
            raise EngineError(f"the model computes no finite numbers: what {name} is multiplied by")


def add_dense(found: Moments, rows: np.ndarray, inner: int, outer: int) -> None:
    """Add what `outer` x `inner` matrices were multiplied with.

    Args:
        rows: shape (a multiple of outer, a multiple of inner, rows, columns); matrices are repeated
            where there are fewer of them, as ggml_mul_mat does.
    """
    for i, j in np.ndindex(rows.shape[:2]):
        matrix = i % outer * inner + j % inner
        found.sums[matrix] += _sums_of_squares(rows[i, j])
        found.counts[matrix] += rows.shape[2]


def add_experts(found: Moments, rows: np.ndarray, experts: np.ndarray) -> None:
    """Add to each expert the rows that were sent to it.

    Args:
        rows: shape (tokens, experts for each or 1, columns); 1 where all get the same.
        experts: shape (tokens, experts for each), numbers of experts.
    """
    for expert in np.unique(experts):
        token, place = np.nonzero(experts == expert)
        found.sums[expert] += _sums_of_squares(rows[token, place % rows.shape[1]])
        found.counts[expert] += len(token)


def _sums_of_squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->j", rows, rows)


def _of_interest(node: ggml.Tensor) -> bool:
    if _op(node) != DENSE:
        return _op(node) == EXPERTS
    activations = node.src[1].contents
    if activations.ne[1] < FEWEST_ROWS or activations.type != ggml.TYPES["float32"]:
        return False
    return _name(node.src[0].contents).startswith("blk.")


def _op(node: ggml.Tensor) -> bytes:
    return ggml.base().ggml_op_name(node.op)


def _name(weight: ggml.Tensor) -> str:
    """A weight's own name: a copy on another device is called DEVICE#NAME#NUMBER."""
    name = weight.name.decode()
    return name.split("#")[1] if "#" in name else name
