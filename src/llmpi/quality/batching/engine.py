"""The batched engine: many sequences per `llama_decode`, shared prefixes stored once.

A model that says something else in company than alone (`llmpi.quality.batching.company`) is asked
one thing at a time, in a context of its own: neither padded nor copied.
"""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from llmpi.engine.chat.thoughts import ABOUT_THINKING, Marks, Thoughts
from llmpi.engine.llama import Engine, EngineError, Model, Rows, Settings
from llmpi.engine.low_level import llama_cpp
from llmpi.quality.batching.form import Form
from llmpi.quality.batching.lanes import LANES, Part, parts_of
from llmpi.quality.batching.schedule import (
    Outcome,
    Request,
    Row,
    Schedule,
    Shape,
    Tokens,
    common_prefix,
)
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.records import Computation, Counts

Groups = Sequence[Sequence[Request]]


class Took(NamedTuple):
    """What it took to compute a part."""

    batches: int
    rows: int
    padded_rows: int


class BatchEngine(Model):
    """A model that answers many requests together, in one or two lanes side by side.

    Args:
        gguf: the model file.
        threads: of the engine, which the lanes share.
        shape: the batches' constants; its `context_tokens` bound the memory of all lanes together.
        computation: what of the engine's settings the outcomes belong to.

    Attributes:
        marks: what the model writes around its thoughts, set by whoever asks for some.
        one_at_a_time: why requests are computed so, set by whoever found it; None: together.

    Raises:
        EngineError: the file cannot be loaded; or, of the methods, a context not be made.
    """

    def __init__(
        self, gguf: Path, *, threads: int, shape: Shape, computation: Computation = BY_DEFAULT
    ) -> None:
        self.shape = shape
        self.marks: Marks | None = None
        self.one_at_a_time: str | None = None
        settings = Settings(
            threads=threads,
            batch_tokens=shape.rows,
            ubatch_tokens=shape.rows,
            kv_cache=computation["kv_cache"],
            flash_attention=computation["flash_attention"],
        )
        super().__init__(gguf, settings)
        self._gguf = gguf
        self._lanes: list[Lane] = []
        self._prefix: Tokens = ()
        self._prefix_state = b""

    def close(self) -> None:
        self._open([], Lane)
        super().close()

    def share(self, groups: Groups) -> int:
        """Compute once what all requests begin with; every `run` starts from that state.

        Returns:
            Its length in tokens; 0 where requests are computed one at a time.

        Raises:
            EngineError: it leaves no room in the context.
        """
        if self.one_at_a_time:
            self._prefix, self._prefix_state = (), b""
            self._open([self.shape.alone()], Alone)
            self._give_threads(self._lanes)
            return 0
        requests = [request for group in groups for request in group]
        self._prefix = tuple(requests[0].prompt[: common_prefix([r.prompt for r in requests])])
        if len(self._prefix) + 2 * self.shape.rows > self.shape.context_tokens:
            raise EngineError(
                f"what all prompts share is {len(self._prefix)} tokens long; a context of "
                f"{self.shape.context_tokens} tokens leaves too little room behind it"
            )
        # Which cells a part has may not hang on how many threads there are here.
        half = self.shape.divided(LANES)
        fits = all(request.needed_tokens <= half.free_cells for request in requests)
        self._open([half] * min(LANES, self.settings.threads) if fits else [self.shape], Lane)
        self._give_threads(self._lanes[:1])
        self._prefix_state = self._lanes[0].compute(self._prefix)
        return len(self._prefix)

    @property
    def start(self) -> dict[str, Sequence[int] | int]:
        """What the outcomes of a block hang on, beside its own requests and the model."""
        begun: dict[str, Sequence[int] | int] = {
            "prefix": self._prefix,
            "cells": self._lanes[0].shape.context_tokens,
        }
        return begun | ({"at_once": 1} if self.one_at_a_time else {})

    def run(
        self, groups: Groups, *, done: Callable[[int], None] = lambda _: None
    ) -> tuple[list[Outcome], Counts]:
        """The outcomes of a block's requests, in order, and the parts and batches that took.

        Each part of the block starts from the same state whatever ran before it, so that its
        outcomes are the same bytes in every run.

        Args:
            groups: requests that begin with what was last given to `share`.
            done: called with the number of outcomes that are there, from any thread.
        """
        parts = self._parts(groups)
        waiting, busy = iter(range(len(parts))), self._lanes[: len(parts)]
        computed: dict[int, tuple[list[Outcome], Took]] = {}
        finished = [0] * len(parts)

        def work(lane: Lane) -> None:
            """Compute what no lane has taken yet, then leave its threads to those that go on."""
            for part in waiting:

                def tell(count: int, part: int = part) -> None:
                    finished[part] = count
                    done(sum(finished))

                asked = [groups[i] for i in parts[part].groups]
                computed[part] = lane.run(
                    asked, self._prefix, self._prefix_state, self.answer_at, tell
                )
            busy.remove(lane)
            self._give_threads(busy)

        self._give_threads(busy)
        with ThreadPoolExecutor(len(busy) or 1) as threads:
            list(threads.map(work, tuple(busy)))
        done_parts = [(part.groups, *computed[i]) for i, part in enumerate(parts)]
        took = [took for *_, took in done_parts]
        return _in_order(groups, done_parts), {
            "cells": self._lanes[0].shape.context_tokens,
            "parts": len(parts),
            "batches": sum(part.batches for part in took),
            "rows": sum(part.rows for part in took),
            "padded_rows": sum(part.padded_rows for part in took),
            "one_at_a_time": self.one_at_a_time,
        }

    def _parts(self, groups: Groups) -> list[Part]:
        if self.one_at_a_time:
            return [Part(list(range(len(groups))), 0)] if groups else []
        return parts_of(groups, len(self._prefix))

    def answer_at(self, tokens: Sequence[int], opened: bool, ended: bool) -> int | None:
        """As `Thoughts.answer_at`, by the marks of the model."""
        if self.marks is None:
            return 0
        return Thoughts(self.marks, self.text_with_special).answer_at(tokens, opened, ended)

    def answer(self, outcome: Outcome) -> str:
        """The text behind the thought; nothing where that did not end."""
        if outcome.answer_at is None:
            return ""
        if self.marks is None:
            return self.text(outcome.tokens)
        thoughts = Thoughts(self.marks, self.text_with_special)
        thought, said = outcome.tokens[: outcome.answer_at], outcome.tokens[outcome.answer_at :]
        text = self.text(thoughts.answer_in(said))
        if thought:
            text = (thoughts.behind(thought).decode("utf-8", "replace") + text).lstrip()
        elif not self.marks.begin or not text.lstrip().startswith(self.marks.begin):
            return text
        text = text.lstrip()
        return text.removeprefix(self.marks.begin).lstrip() if self.marks.begin else text

    def unknown_marks(self, outcome: Outcome) -> list[str]:
        """Marks in an answer that are none around its thought: nothing tells what they mean."""
        if outcome.answer_at is None:
            return []
        said = outcome.tokens[outcome.answer_at :]
        if self.marks:
            said = tuple(Thoughts(self.marks, self.text_with_special).answer_in(said))
        return [*dict.fromkeys(self.marks_in(said) + ABOUT_THINKING.findall(self.text(said)))]

    def thought(self, outcome: Outcome) -> Tokens | None:
        """What comes before an answer, the marks included; None where it comes at once."""
        tokens = outcome.tokens[: outcome.answer_at]
        if outcome.answer_at is None:
            return tokens
        if not tokens or self.marks is None:
            return None
        return None if Thoughts(self.marks, self.text_with_special).is_none(tokens) else tokens

    def _give_threads(self, lanes: Sequence["Lane"]) -> None:
        """Let these lanes have all threads; how many one has changes no result."""
        for i, lane in enumerate(lanes):
            lane.threads = (self.settings.threads + i) // len(lanes)

    def _open(self, shapes: Sequence[Shape], kind: type["Lane"]) -> None:
        """Have a lane of each of these shapes."""
        if [(lane.shape, type(lane)) for lane in self._lanes] == [(s, kind) for s in shapes]:
            return
        for lane in self._lanes:
            lane.close()
        self._lanes = []
        for shape in shapes:
            self._lanes.append(kind(self._gguf, self.settings, shape=shape, beside=self))


def _in_order(
    groups: Groups, parts: Sequence[tuple[Sequence[int], Sequence[Outcome], Took]]
) -> list[Outcome]:
    """The parts' outcomes in the order of the groups."""
    of_group: dict[int, list[Outcome]] = {}
    for numbers, outcomes, _ in parts:
        left = iter(outcomes)
        of_group |= {i: [next(left) for _ in groups[i]] for i in numbers}
    return [outcome for i in range(len(groups)) for outcome in of_group[i]]


class Lane(Engine):
    """A context whose KV cache is shared by many sequences; it computes one part at a time."""

    def __init__(self, gguf: Path, settings: Settings, *, shape: Shape, beside: Model) -> None:
        self.shape = shape
        super().__init__(
            gguf,
            settings,
            context_tokens=shape.context_tokens,
            sequences=shape.sequences,
            beside=beside,
        )
        self.threads = settings.threads
        self._rows = Rows(shape.rows)

    def compute(self, prefix: Tokens) -> bytes:
        """The state behind `prefix`."""
        llama_cpp.llama_memory_clear(self._memory, True)
        # In batches of the same size: attention of a single row hangs on the number of threads.
        batches = -(-len(prefix) // self.shape.rows)
        for part in np.array_split(np.arange(len(prefix)), batches or 1):
            if len(part):
                self._decode_rows([Row(prefix[i], int(i), 0, False) for i in part])
        size = llama_cpp.llama_state_seq_get_size(self.context, 0)
        state = (ctypes.c_uint8 * size)()
        llama_cpp.llama_state_seq_get_data(self.context, state, size, 0)
        return bytes(state)

    def run(
        self,
        groups: Groups,
        prefix: Tokens,
        prefix_state: bytes,
        answer_at: Callable[[Sequence[int], bool, bool], int | None],
        done: Callable[[int], None],
    ) -> tuple[list[Outcome], Took]:
        """The outcomes of a part's requests, and the batches that took."""
        self._start_from(prefix, prefix_state)
        schedule = Schedule(
            groups,
            prefix,
            self.shape,
            self,
            is_end=self.is_end,
            ended=self._holds,
            answer_at=answer_at,
            grammar_of=partial(Form, self.vocab),
        )
        while rows := schedule.next_batch():
            self._decode_rows(rows)
            schedule.take_logits(self._logits)
            done(schedule.finished)
        took = Took(schedule.batches, schedule.rows, schedule.padded_rows)
        return schedule.outcomes, took

    def _start_from(self, prefix: Tokens, prefix_state: bytes) -> None:
        llama_cpp.llama_memory_clear(self._memory, True)
        if prefix:
            size = len(prefix_state)
            state = (ctypes.c_uint8 * size).from_buffer_copy(prefix_state)
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
        llama_cpp.llama_set_n_threads(self.context, self.threads, self.threads)
        self.decode_rows(batch, 0, count)

    def _logits(self, row: int) -> np.ndarray:
        pointer = llama_cpp.llama_get_logits_ith(self.context, row)
        return np.ctypeslib.as_array(pointer, (self.vocab_tokens,))


class Alone(Lane):
    """A context of one sequence, in which each thing that is asked is computed by itself.

    The pieces of a schedule of a single request follow one another, so that each finds its
    beginning where it stands: nothing is copied, nothing dropped.
    """

    def __init__(self, gguf: Path, settings: Settings, *, shape: Shape, beside: Model) -> None:
        super().__init__(gguf, settings, shape=shape._replace(sequences=1), beside=beside)
        self.shape = shape

    def run(
        self,
        groups: Groups,
        prefix: Tokens,
        prefix_state: bytes,
        answer_at: Callable[[Sequence[int], bool, bool], int | None],
        done: Callable[[int], None],
    ) -> tuple[list[Outcome], Took]:
        outcomes: list[Outcome] = []
        took: list[Took] = []
        for request in (request for group in groups for request in group):
            found = [
                Lane.run(self, [[one]], prefix, prefix_state, answer_at, lambda _: None)
                for one in _one_by_one(request)
            ]
            outcomes.append(_together([outcome for (outcome,), _ in found]))
            took += [took for _, took in found]
            done(len(outcomes))
        return outcomes, Took(*map(sum, zip(*took, strict=True)))

    def copy(self, source: int, target: int, tokens: int) -> None:
        pass

    def drop(self, sequence: int) -> None:
        pass

    def _decode_rows(self, rows: Sequence[Row]) -> None:
        super()._decode_rows([row._replace(sequence=0) for row in rows])


def _one_by_one(request: Request) -> list[Request]:
    """The answer, if one is wanted, and each continuation, behind the prompt by itself."""
    scored = [Request(request.prompt, score=(one,)) for one in request.score]
    answered = request._replace(score=())
    return [answered, *scored] if request.max_new_tokens or not scored else scored


def _together(found: Sequence[Outcome]) -> Outcome:
    """What came of a request's parts."""
    failed = next((outcome for outcome in found if outcome.error), None)
    scores = tuple(score for outcome in found for score in outcome.scores)
    return failed or found[0]._replace(scores=scores)
