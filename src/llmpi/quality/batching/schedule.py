"""Which tokens are computed together: continuous batching over prompts that share prefixes.

Plain bookkeeping, no engine: `Schedule` hands out batches of rows and takes back what the model
said; `Memory` is what it asks of the engine's KV cache.

Requests are let in by bursts: when few of the running ones are left, others join until as many run
as a batch of answers holds. Batches of prompts come first, in order, until all that are in are
computed; then batches of answers, the next token of each. A row looks at every cell in use, and
attention skips what no row of a tile of 64 may see: so prompts are kept together, in a cache that
holds few other cells while they are computed, and in no batch with answers, which lie scattered.
Each batch is padded to one of a set of fixed numbers of rows, none of so few that matrix products
take other kernels, which round differently: how many answers run hangs on what the variant says.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from llmpi.engine.chat.thoughts import Thought
from llmpi.quality.records import BatchShape

Tokens = tuple[int, ...]
Take = Callable[[np.ndarray], None]
"""What is done with the logits behind a token, one for each of the vocabulary."""


class Request(NamedTuple):
    """What is asked of the model behind a prompt.

    `max_new_tokens` are generated greedily, fewer where the model ends by itself or the text so far
    holds one of `until`, behind the `thought` that comes before, if any; of each of `score` the
    log-likelihood is wanted, from the same state. A `grammar` (GBNF) bounds what stands behind the
    thought.
    """

    prompt: Tokens
    max_new_tokens: int = 0
    score: tuple[Tokens, ...] = ()
    until: tuple[str, ...] = ()
    thought: Thought | None = None
    grammar: str | None = None

    @property
    def new_tokens(self) -> int:
        """At most, those of a thought and of the continuations included."""
        thought = self.thought.tokens if self.thought else 0
        return thought + self.max_new_tokens + sum(map(len, self.score))

    @property
    def needed_tokens(self) -> int:
        """Of the context, at most."""
        return len(self.prompt) + self.new_tokens


class Score(NamedTuple):
    """Natural logarithm of a continuation's probability; whether each token is the likeliest."""

    log_likelihood: float
    greedy: bool


class Outcome(NamedTuple):
    """What came of a request; `stopped` if the answer ended before the bound.

    `error` is set, and nothing else is there, where the request does not fit the context.
    """

    tokens: Tokens = ()
    stopped: bool = False
    scores: tuple[Score, ...] = ()
    error: str | None = None
    answer_at: int | None = 0
    """So many of the tokens are a thought; None where that did not end."""


class Row(NamedTuple):
    """A token to compute, where it stands, and whether the logits behind it are wanted."""

    token: int
    position: int
    sequence: int
    wanted: bool


class Memory(Protocol):
    """The KV cache; sequences share cells, so that a copy costs nothing."""

    def copy(self, source: int, target: int, tokens: int) -> None: ...

    def drop(self, sequence: int) -> None: ...


class Grammar(Protocol):
    """What bounds one answer; it goes on with each token that is chosen."""

    def choose(self, logits: np.ndarray) -> int | None:
        """The likeliest token that it allows; None where it allows none."""


class Shape(NamedTuple):
    """The constants of a schedule.

    All share `context_tokens` cells. There are `sequences` ids: 0 is the shared prefix's, the last
    one the padding's. A batch of prompts has one of `prompt_rows`, one of answers one of
    `answer_rows`, the largest first; as many requests as that one has rows run at once.
    """

    context_tokens: int
    prompt_rows: tuple[int, ...] = tuple(range(256, 0, -16))
    answer_rows: tuple[int, ...] = tuple(range(40, 7, -4))
    sequences: int = 64

    @property
    def rows(self) -> int:
        """Rows of the largest batch."""
        return self.prompt_rows[0]

    @property
    def free_cells(self) -> int:
        """Cells but the padding's, which has its own, so that it never takes an answer's."""
        gaps = (
            larger - size
            for sizes in (self.prompt_rows, self.answer_rows)
            for larger, size in pairwise((*sizes, 0))
        )
        return self.context_tokens - (max(gaps) - 1)

    @property
    def at_once(self) -> int:
        """Requests that run at the same time."""
        return self.answer_rows[0]

    @property
    def few(self) -> int:
        """So many running requests are too few for a batch to pay: others join."""
        return self.at_once // 5

    def divided(self, lanes: int) -> "Shape":
        """The same batches in one lane's share of the cells."""
        return self._replace(context_tokens=self.context_tokens // lanes)

    def alone(self) -> "Shape":
        """For one request at a time, without padding."""
        rows = tuple(range(self.rows, 0, -1))
        return self._replace(prompt_rows=rows, answer_rows=(1,))

    def record(self) -> BatchShape:
        return {
            "context_tokens": self.context_tokens,
            "prompt_rows": self.prompt_rows,
            "answer_rows": self.answer_rows,
            "sequences": self.sequences,
        }


def shape_of(context_tokens: int) -> Shape:
    """The shape for so many cells: no batch takes more than an eighth of them, or than 64."""
    most = max(64, context_tokens // 8)
    return Shape(context_tokens, tuple(n for n in Shape(0).prompt_rows if n <= most))


@dataclass
class _Piece:
    """Tokens to compute in a row. Their sequence begins as another piece's, or as the prefix."""

    tokens: Tokens
    position: int
    begins_as: "_Piece | None"
    wanted: dict[int, Take] = field(default_factory=dict)
    sequence: int = 0
    sent: int = 0

    @property
    def computed(self) -> bool:
        return self.sent == len(self.tokens)


@dataclass
class _Job:
    """What is let in as a whole: the shared part of a group, or what is a request's own."""

    pieces: list[_Piece]
    cells: int
    ids: int
    taken: list[int] = field(default_factory=list)


@dataclass
class _Group(_Job):
    """The shared part; it stays until all of its members are done."""

    members: list["_Asked"] = field(default_factory=list)


@dataclass
class _Asked(_Job):
    """A request, and what is known of its outcome."""

    index: int = field(kw_only=True)
    request: Request = field(kw_only=True)
    group: _Group = field(kw_only=True)
    tokens: list[int] = field(default_factory=list)
    answer_at: int | None = 0
    stopped: bool = False
    grammar: Grammar | None = None
    answered: bool = False
    finished: bool = False
    scores: list[list[tuple[float, bool]]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.answered and list(map(len, self.scores)) == list(map(len, self.request.score))


class Schedule:
    """The work of one block: groups of requests that share a prefix with their neighbours.

    Args:
        groups: requests; all of them begin with `prefix`, which is in sequence 0 already.
        is_end: whether a token ends an answer.
        ended: whether these tokens hold one of these texts, see `Request.until`.
        answer_at: how many of these tokens are a thought, as `Thoughts.answer_at` tells it.
        grammar_of: what bounds an answer, from its text; needed where a request has one.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Request]],
        prefix: Tokens,
        shape: Shape,
        memory: Memory,
        *,
        is_end: Callable[[int], bool],
        ended: Callable[[Sequence[int], tuple[str, ...]], bool],
        answer_at: Callable[[Sequence[int], bool, bool], int | None] = lambda *_: 0,
        grammar_of: Callable[[str], Grammar] | None = None,
    ) -> None:
        self._shape, self._memory = shape, memory
        self._is_end, self._ended, self._answer_at = is_end, ended, answer_at
        self._grammar_of = grammar_of
        self._free_ids = list(range(shape.sequences - 2, 0, -1))
        self._free_cells = shape.free_cells - len(prefix)
        self.outcomes: list[Outcome] = []
        self._waiting: deque[_Job] = deque()
        self._running = 0
        for group in groups:
            self._enlist(group, len(prefix))
        self._computing: list[_Piece] = []
        self._answering: list[_Asked] = []
        self._wanted: list[tuple[int, Take]] = []
        self.batches = self.rows = self.padded_rows = self.finished = 0

    def next_batch(self) -> list[Row]:
        """The rows of the next batch; none when all is done."""
        self._admit()
        # What is computed in this very batch is not there yet.
        ready = [p for p in self._computing if p.begins_as is None or p.begins_as.computed]
        # What others wait for comes first; what belongs to one group stays together.
        ready.sort(key=lambda piece: piece.position)
        if ready:
            rows, sizes = self._next_of_prompts(ready), self._shape.prompt_rows
        else:
            rows, sizes = self._next_of_answers(), self._shape.answer_rows
        if not rows:
            return []
        self.rows += len(rows)
        self.batches += 1
        return rows + self._padding(min(size for size in sizes if size >= len(rows)) - len(rows))

    def _next_of_answers(self) -> list[Row]:
        """The next token of each answer."""
        self._wanted = [(i, partial(self._answer, ask)) for i, ask in enumerate(self._answering)]
        rows = []
        for asked in self._answering:
            position = len(asked.request.prompt) + len(asked.tokens) - 1
            rows.append(Row(asked.tokens[-1], position, asked.taken[0], wanted=True))
        return rows

    def _next_of_prompts(self, ready: Sequence[_Piece]) -> list[Row]:
        """Tokens of the pieces that can be computed, in order, as many as there is room for."""
        rows: list[Row] = []
        self._wanted = []
        for piece in ready:
            rows += self._rows_of(piece, len(rows))
        return rows

    def take_logits(self, logits: Callable[[int], np.ndarray]) -> None:
        """Go on from what the last batch gave: `logits(row)`."""
        self._computing = [piece for piece in self._computing if not piece.computed]
        for row, take in self._wanted:
            take(logits(row))

    # --- what is let in, and when -----------------------------------------------------------------

    def _enlist(self, requests: Sequence[Request], prefix: int) -> None:
        """Queue a group: the part its requests share, then what is each one's own.

        A group leaves the cache as a whole, so that free cells lie together; one that does not fit
        is split, and each of the pieces has the shared tokens for itself.
        """
        shared = common_prefix([request.prompt for request in requests])
        cells, ids = self._free_cells, len(self._free_ids)
        group = self._open_group(requests[0].prompt[prefix:shared], prefix)
        for request in requests:
            error = self._never_fits(request, prefix, group.ids)
            if error is None:
                asked = self._asked(len(self.outcomes), request, shared, group)
                held = [group, *group.members, asked]
                if group.members and (
                    sum(job.cells for job in held) > cells or sum(job.ids for job in held) > ids
                ):
                    group = self._open_group(requests[0].prompt[prefix:shared], prefix)
                    asked = self._asked(len(self.outcomes), request, shared, group)
                if not group.members:
                    self._waiting.append(group)
                group.members.append(asked)
                self._waiting.append(asked)
            self.outcomes.append(Outcome(error=error))

    def _open_group(self, shared: Tokens, prefix: int) -> _Group:
        head = _Piece(shared, prefix, None)
        return _Group([head], cells=len(shared), ids=min(1, len(shared)))

    def _never_fits(self, request: Request, prefix: int, shared_ids: int) -> str | None:
        have = self._free_cells + prefix
        if request.needed_tokens > have:
            return f"needs {request.needed_tokens} of {have} tokens of context"
        most = len(self._free_ids) - shared_ids - 1
        if len(request.score) > most:
            return f"asks for {len(request.score)} continuations, {most} are possible"
        return None

    def _asked(self, index: int, request: Request, shared: int, group: _Group) -> _Asked:
        tail = _Piece(request.prompt[shared:], shared, group.pieces[0])
        end = len(request.prompt)
        asked = _Asked(
            [tail],
            cells=len(tail.tokens) + request.new_tokens,
            ids=1 + len(request.score),
            index=index,
            request=request,
            group=group,
            answer_at=None if request.thought else 0,
            answered=not request.max_new_tokens,
            scores=[[] for _ in request.score],
        )
        tail.wanted[len(tail.tokens) - 1] = partial(self._prompt_done, asked)
        for which, continuation in enumerate(request.score):
            piece = _Piece(continuation[:-1], end, tail)
            for i in range(len(piece.tokens)):
                piece.wanted[i] = partial(self._score, asked, which, continuation[i + 1])
            asked.pieces.append(piece)
        return asked

    def _admit(self) -> None:
        """Let a burst of jobs in, strictly in order, each with room for all it may ever need."""
        if self._running > self._shape.few:
            return
        while self._waiting and self._running < self._shape.at_once:
            job = self._waiting[0]
            if job.cells > self._free_cells or job.ids > len(self._free_ids):
                return
            self._running += isinstance(job, _Asked)
            self._waiting.popleft()
            self._free_cells -= job.cells
            job.taken = [self._free_ids.pop() for _ in range(job.ids)]
            for piece, sequence in zip(job.pieces, job.taken, strict=False):
                piece.sequence = sequence
            self._computing += [piece for piece in job.pieces if piece.tokens]

    def _leave(self, job: _Job) -> None:
        for sequence in job.taken:
            self._memory.drop(sequence)
        self._free_ids += reversed(job.taken)
        self._free_cells += job.cells

    # --- rows -------------------------------------------------------------------------------------

    def _rows_of(self, piece: _Piece, at: int) -> list[Row]:
        """What of a piece finds room behind `at` rows."""
        start = piece.sent
        piece.sent = min(len(piece.tokens), start + self._shape.rows - at)
        if start == 0 and piece.sent:
            source = piece.begins_as.sequence if piece.begins_as else 0
            self._memory.copy(source, piece.sequence, piece.position)
        rows: list[Row] = []
        for i in range(start, piece.sent):
            take = piece.wanted.get(i)
            if take:
                self._wanted.append((at + len(rows), take))
            rows.append(Row(piece.tokens[i], piece.position + i, piece.sequence, take is not None))
        return rows

    def _padding(self, count: int) -> list[Row]:
        """Rows that fill a batch up to its shape, in a sequence of their own."""
        self.padded_rows += count
        sequence = self._shape.sequences - 1
        self._memory.drop(sequence)
        return [Row(0, i, sequence, wanted=False) for i in range(count)]

    # --- what the model said ----------------------------------------------------------------------

    def _prompt_done(self, asked: _Asked, logits: np.ndarray) -> None:
        """The answer begins here, and so does every continuation."""
        for which, continuation in enumerate(asked.request.score):
            if continuation:
                self._score(asked, which, continuation[0], logits)
        if not asked.answered:
            self._answering.append(asked)
            self._answer(asked, logits)
        self._finish(asked)

    def _answer(self, asked: _Asked, logits: np.ndarray) -> None:
        token = self._chosen(asked, logits)
        asked.stopped = token is not None and self._is_end(token)
        if token is not None and not asked.stopped:
            asked.tokens.append(token)
        self._look_for_answer(asked)
        if asked.answer_at is not None and not asked.stopped:
            asked.stopped = self._ended(asked.tokens[asked.answer_at :], asked.request.until)
        asked.answered = token is None or asked.stopped or self._at_bound(asked)
        if asked.answered:
            self._answering.remove(asked)
        self._finish(asked)

    def _chosen(self, asked: _Asked, logits: np.ndarray) -> int | None:
        if asked.request.grammar is None or asked.answer_at is None:
            return int(np.argmax(logits))
        if asked.grammar is None:
            assert self._grammar_of
            asked.grammar = self._grammar_of(asked.request.grammar)
        return asked.grammar.choose(logits)

    def _look_for_answer(self, asked: _Asked) -> None:
        if asked.answer_at is None and (thought := asked.request.thought):
            over = asked.stopped or len(asked.tokens) == thought.tokens
            asked.answer_at = self._answer_at(asked.tokens, thought.opened, over)

    def _at_bound(self, asked: _Asked) -> bool:
        """Whether the thought, or the answer behind it, has all its tokens."""
        if asked.answer_at is None:
            assert asked.request.thought
            return len(asked.tokens) >= asked.request.thought.tokens
        return len(asked.tokens) - asked.answer_at >= asked.request.max_new_tokens

    def _score(self, asked: _Asked, which: int, token: int, logits: np.ndarray) -> None:
        asked.scores[which].append(_log_likelihood(logits, token))
        self._finish(asked)

    def _finish(self, asked: _Asked) -> None:
        if not asked.done or asked.finished:
            return
        asked.finished = True
        scores = tuple(
            Score(sum(value for value, _ in parts), all(greedy for _, greedy in parts))
            for parts in asked.scores
        )
        self.outcomes[asked.index] = Outcome(
            tuple(asked.tokens), asked.stopped, scores, answer_at=asked.answer_at
        )
        self.finished += 1
        self._running -= 1
        if all(member.finished for member in asked.group.members):
            for job in [*asked.group.members, asked.group]:
                self._leave(job)


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens all prompts begin with; at least one of each prompt is left over to compute."""
    shared = 0
    for column in zip(*(prompt[:-1] for prompt in prompts), strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return shared


def _log_likelihood(logits: np.ndarray, token: int) -> tuple[float, bool]:
    top = float(logits.max())
    total = float(np.exp(logits - top).sum(dtype=np.float64))
    return float(logits[token]) - top - float(np.log(total)), int(np.argmax(logits)) == token
