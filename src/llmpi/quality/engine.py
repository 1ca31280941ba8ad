"""The batched engine: many sequences per `llama_decode`, shared prefixes stored once."""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from llmpi.device.engine import Engine, EngineError, Rows, Settings
from llmpi.quality.schedule import Outcome, Request, Row, Schedule, Shape, Tokens, common_prefix

Groups = Sequence[Sequence[Request]]


class BatchEngine(Engine):
    """A model whose KV cache is shared by many sequences.

    Args:
        gguf: the model file.
        threads: of the engine.
        shape: the batches' constants; `context_tokens` bounds the memory.

    Raises:
        EngineError: the file cannot be loaded or the context not be made.
    """

    def __init__(self, gguf: Path, *, threads: int, shape: Shape) -> None:
        self.shape = shape
        self._prefix: Tokens = ()
        self._prefix_state = b""
        settings = Settings(threads=threads, batch_tokens=shape.rows, ubatch_tokens=shape.rows)
        super().__init__(
            gguf, settings, context_tokens=shape.context_tokens, sequences=shape.sequences
        )
        self._rows = Rows(shape.rows)
        tokens = range(self.vocab_tokens)
        self._ends = np.array([llama_cpp.llama_vocab_is_eog(self.vocab, t) for t in tokens])

    def share(self, groups: Groups) -> int:
        """Compute once what all requests begin with; every `run` starts from that state.

        Returns:
            Its length in tokens.

        Raises:
            EngineError: it leaves no room in the context.
        """
        prompts = [request.prompt for group in groups for request in group]
        self._prefix = tuple(prompts[0][: common_prefix(prompts)])
        if len(self._prefix) + 2 * self.shape.rows > self.context_tokens:
            raise EngineError(
                f"what all prompts share is {len(self._prefix)} tokens long; a context of "
                f"{self.context_tokens} tokens leaves too little room behind it"
            )
        llama_cpp.llama_memory_clear(self._memory, True)
        for start in range(0, len(self._prefix), self.shape.rows):
            part = self._prefix[start : start + self.shape.rows]
            self._decode_rows([Row(t, start + i, 0, False) for i, t in enumerate(part)])
        size = llama_cpp.llama_state_seq_get_size(self.context, 0)
        state = (ctypes.c_uint8 * size)()
        llama_cpp.llama_state_seq_get_data(self.context, state, size, 0)
        self._prefix_state = bytes(state)
        return len(self._prefix)

    def run(
        self, groups: Groups, *, done: Callable[[int], None] = lambda _: None
    ) -> tuple[list[Outcome], dict[str, int]]:
        """The outcomes of a block's requests, in order, and the batches that took.

        The block starts from the same state whatever ran before it, so that its outcomes are the
        same bytes in every run.

        Args:
            groups: requests that begin with what was last given to `share`.
            done: called with the number of outcomes that are there.
        """
        self._start_from_prefix()
        schedule = Schedule(
            groups,
            self._prefix,
            self.shape,
            self,
            is_end=lambda token: bool(self._ends[token]),
            ended=self._holds,
        )
        while rows := schedule.next_batch():
            self._decode_rows(rows)
            schedule.take_logits(self._logits)
            done(schedule.finished)
        counts = {"batches": schedule.batches, "rows": schedule.rows}
        return schedule.outcomes, counts | {"padded_rows": schedule.padded_rows}

    def _start_from_prefix(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, True)
        if self._prefix:
            size = len(self._prefix_state)
            state = (ctypes.c_uint8 * size).from_buffer_copy(self._prefix_state)
            if not llama_cpp.llama_state_seq_set_data(self.context, state, size, 0):
                raise EngineError("the state of the shared prefix cannot be set")

    def _holds(self, tokens: Sequence[int], texts: tuple[str, ...]) -> bool:
        if not texts:
            return False
        said = self.text(tokens)
        return any(text in said for text in texts)

    # --- the schedule's memory --------------------------------------------------------------------

    def copy(self, source: int, target: int, tokens: int) -> None:
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, tokens)

    def drop(self, sequence: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    # --- rows -------------------------------------------------------------------------------------

    def _decode_rows(self, rows: Sequence[Row]) -> None:
        batch, count = self._rows, len(rows)
        batch.tokens[:count] = [row.token for row in rows]
        batch.positions[:count] = [row.position for row in rows]
        batch.sequences[:count] = [row.sequence for row in rows]
        batch.wanted[:count] = [row.wanted for row in rows]
        self.decode_rows(batch, 0, count)

    def _logits(self, row: int) -> np.ndarray:
        pointer = llama_cpp.llama_get_logits_ith(self.context, row)
        return np.ctypeslib.as_array(pointer, (self.vocab_tokens,))
