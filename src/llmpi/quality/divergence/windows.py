"""Windows of a text, read by a model as llama-perplexity reads them."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from llmpi.engine.llama import EngineError
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.params import FLASH_ATTENTION, KV_TYPES, LOAD_MODES, fill
from llmpi.engine.shards import parts
from llmpi.errors import LlmpiError
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.divergence.log_probs import Logits, Tokens
from llmpi.quality.divergence.records import Vocabulary
from llmpi.quality.records import Computation
from llmpi.records import sha256_of_json

# llama-perplexity's defaults. The shape of a batch changes the rounding of some kernels, so it is
# the same for every variant.
BATCH_TOKENS, UBATCH_TOKENS = 2048, 512


def cut(tokens: Tokens, window: int) -> Tokens:
    """[chunks, window]

    Raises:
        LlmpiError: there are less than two windows, which llama-perplexity asks for.
    """
    if len(tokens) < 2 * window:
        raise LlmpiError(
            f"the corpus has {len(tokens)} tokens, and windows of {window} need at least "
            f"{2 * window}: take a longer text or a smaller window_tokens"
        )
    chunks = len(tokens) // window
    return tokens[: chunks * window].reshape(chunks, window)


def plain_tokens(vocab: Any, text: str) -> Tokens:
    """Tokens of `text`, what looks like a special token read as plain text; no end behind it, which
    a file may want for training."""
    raw = text.removesuffix("\n").encode()  # llama.cpp's tools drop a file's last newline
    count = -len(raw) - 1
    while count < 0:  # there was no room for so many
        room = -count
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(vocab, raw, len(raw), tokens, room, True, False)
    # Some tokenizers append none, whatever the file wants; as plain text none can be the last one.
    end = count > 0 and tokens[count - 1] == llama_cpp.llama_vocab_eos(vocab)
    return np.ctypeslib.as_array(tokens)[: count - end].copy()


def bos_of(vocab: Any) -> int | None:
    """The token that each window begins with, if the vocabulary adds one."""
    if llama_cpp.llama_vocab_get_add_bos(vocab):
        return llama_cpp.llama_vocab_bos(vocab)
    return None


class Windows:
    """A model that reads windows of a text, several in one batch, as llama-perplexity does.

    Args:
        from_file: compute with the bytes of the file as they are at each decoding, which somebody
            changes: no copy of a weight is made.

    Raises:
        EngineError: the file cannot be loaded, or there is no memory for the context.
        LlmpiError: the model is not made for windows of this length.
    """

    def __init__(
        self,
        gguf: Path,
        window_tokens: int,
        threads: int,
        computation: Computation = BY_DEFAULT,
        *,
        from_file: bool = False,
    ) -> None:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        if from_file:
            mapped = LOAD_MODES[True, False]
            fill(params, load_mode=mapped, use_extra_bufts=False, n_gpu_layers=0)
        self._context = self._batch = None
        self.window_tokens = window_tokens
        self.computation = computation
        self.at_once = max(1, BATCH_TOKENS // window_tokens)
        """So many windows make a batch."""
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(parts(gguf)[0]), params)
        if not self._model:
            raise EngineError(f"llama.cpp cannot load {gguf.name}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocab_tokens: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        try:
            self._make_context(threads)
        except (EngineError, LlmpiError):
            self.close()
            raise

    def _make_context(self, threads: int) -> None:
        trained = llama_cpp.llama_model_n_ctx_train(self._model)
        if self.window_tokens > trained:
            raise LlmpiError(
                f"window_tokens is {self.window_tokens}, and the model was trained on {trained} at "
                "most: take a smaller window_tokens"
            )
        tokens = self.at_once * self.window_tokens
        self._batch_tokens = min(BATCH_TOKENS, tokens)
        params = llama_cpp.llama_context_default_params()
        fill(
            params,
            n_ctx=tokens,
            n_batch=self._batch_tokens,
            n_ubatch=UBATCH_TOKENS,
            n_seq_max=self.at_once,
            n_threads=threads,
            n_threads_batch=threads,
            type_k=KV_TYPES[self.computation["kv_cache"]],
            type_v=KV_TYPES[self.computation["kv_cache"]],
            flash_attn_type=FLASH_ATTENTION[self.computation["flash_attention"]],
            swa_full=False,
        )
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise EngineError(f"llama.cpp cannot make a context of {tokens} tokens")
        self._batch = llama_cpp.llama_batch_init(self._batch_tokens, 0, 1)

    def close(self) -> None:
        if self._context:
            llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tokenize(self, text: str) -> Tokens:
        """Tokens of `text`, what looks like a special token read as plain text."""
        return plain_tokens(self._vocab, text)

    def vocabulary(self) -> Vocabulary:
        """What must be the same for two models' predictions to be comparable."""
        texts = [
            llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")
            for token in range(self.vocab_tokens)
        ]
        return {"tokens": self.vocab_tokens, "sha256": sha256_of_json([bos_of(self._vocab), texts])}

    def read(self, windows: Tokens) -> Iterator[tuple[int, int, Logits]]:
        """Decode up to `at_once` windows from scratch.

        Args:
            windows: [windows, window].

        Yields:
            (i, position, logits): of window i, the scored positions from `position` on, in pieces
            where the window is longer than a batch. The logits [positions, vocabulary] lie in the
            engine's memory, and are gone at the next step.
        """
        tokens = windows.copy()
        if (bos := bos_of(self._vocab)) is not None:
            tokens[:, 0] = bos
        first, last = self.window_tokens // 2, self.window_tokens - 1
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        for start in range(0, self.window_tokens, self._batch_tokens):
            piece = tokens[:, start : start + self._batch_tokens]
            self._decode(piece, start, first)
            begin, end = max(start, first), start + piece.shape[1]
            if begin < min(end, last):
                logits = self._logits(begin - start, len(piece), end - begin)
                for i in range(len(piece)):
                    yield i, begin, logits[i, : min(end, last) - begin]

    def _decode(self, tokens: Tokens, start: int, first: int) -> None:
        """Decode [sequences, tokens], logits from position `first` on."""
        batch: Any = self._batch
        batch.n_tokens = tokens.size
        at = 0
        for sequence, row in enumerate(tokens.tolist()):
            for position, token in enumerate(row, start):
                batch.token[at] = token
                batch.pos[at] = position
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = sequence
                batch.logits[at] = position >= first
                at += 1
        code = llama_cpp.llama_decode(self._context, batch)
        if code != 0:
            raise EngineError(f"llama_decode returned {code} for {tokens.size} tokens")

    def _logits(self, index: int, sequences: int, positions: int) -> Logits:
        """[sequences, positions, vocabulary], those of the token at `index` in the batch first."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, index)
        address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(address, (sequences, positions, self.vocab_tokens))
