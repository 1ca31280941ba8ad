"""Continuous batching against a model whose next token depends on all tokens it holds, in order."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpi.engine.chat.thoughts import Thought
from llmpi.quality.batching.schedule import (
    Outcome,
    Request,
    Row,
    Schedule,
    Shape,
    Tokens,
    common_prefix,
)

END = 0
OPEN, CLOSE = 4, 5
VOCABULARY = 6
prompts = st.lists(st.integers(1, 5), min_size=1, max_size=14).map(tuple)
continuations = st.lists(st.lists(st.integers(1, 5), max_size=4).map(tuple), max_size=3).map(tuple)
thoughts = st.none() | st.builds(Thought, st.integers(1, 5), st.booleans())
requests = st.builds(
    Request,
    prompts,
    st.integers(0, 6),
    continuations,
    until=st.just(()),
    thought=thoughts,
    grammar=st.none(),
)
groups = st.lists(st.lists(requests, min_size=1, max_size=6), min_size=1, max_size=5)
shapes = st.builds(
    Shape,
    st.sampled_from([60, 80, 1000]),
    prompt_rows=st.sampled_from([(1,), (3, 1), (8,), (16, 4, 1)]),
    answer_rows=st.sampled_from([(1,), (4, 1)]),
    sequences=st.sampled_from([8, 12, 64]),
)


def logits_of(held: Sequence[int]) -> np.ndarray:
    digest = hashlib.blake2b(bytes(held), digest_size=VOCABULARY).digest()
    return np.frombuffer(digest, np.uint8).astype(np.float32) / 32


class Model:
    """Cells that sequences share, bounded as a real cache is; every row checks what it sees."""

    def __init__(self, shape: Shape, prefix: Tokens) -> None:
        self.shape = shape
        self.held: dict[int, list[tuple[int, int]]] = {0: [(t, i) for i, t in enumerate(prefix)]}
        self.next_cell = len(prefix)
        self.wanted: dict[int, np.ndarray] = {}

    def copy(self, source: int, target: int, tokens: int) -> None:
        assert not self.held.get(target), "a sequence begins empty"
        self.held[target] = self.held[source][:tokens] if source in self.held else []
        assert len(self.held[target]) == tokens

    def drop(self, sequence: int) -> None:
        self.held.pop(sequence, None)

    def decode(self, rows: list[Row]) -> None:
        assert len(rows) in (*self.shape.prompt_rows, *self.shape.answer_rows)
        self.wanted = {}
        for i, row in enumerate(rows):
            assert 0 < row.sequence < self.shape.sequences
            cells = self.held.setdefault(row.sequence, [])
            assert row.position == len(cells), "no position is left out"
            cells.append((row.token, self.next_cell))
            self.next_cell += 1
            if row.wanted:
                self.wanted[i] = logits_of([token for token, _ in cells])
        used = {cell for cells in self.held.values() for _, cell in cells}
        assert len(used) <= self.shape.context_tokens


def ended(tokens: Sequence[int], texts: tuple[str, ...]) -> bool:
    return any(text in "".join(map(str, tokens)) for text in texts)


def answer_at(tokens: Sequence[int], opened: bool, ended: bool) -> int | None:
    if not opened and tokens[:1] != [OPEN]:
        return 0 if tokens or ended else None
    return tokens.index(CLOSE) + 1 if CLOSE in tokens else None


def run(asked: Sequence[Sequence[Request]], shape: Shape) -> tuple[list[Outcome], Schedule]:
    every = [request.prompt for group in asked for request in group]
    prefix = every[0][: common_prefix(every)]
    model = Model(shape, prefix)
    schedule = Schedule(
        asked,
        prefix,
        shape,
        model,
        is_end=lambda t: t == END,
        ended=ended,
        answer_at=answer_at,
    )
    while rows := schedule.next_batch():
        model.decode(rows)
        schedule.take_logits(model.wanted.__getitem__)
    assert set(model.held) <= {0, shape.sequences - 1}, "all sequences are given back"
    return schedule.outcomes, schedule


def alone(request: Request) -> Outcome:
    """The same, one token after the other."""
    tokens: list[int] = []
    stopped, begins = not request.max_new_tokens, None if request.thought else 0
    opened = request.thought is not None and request.thought.opened
    most = request.thought.tokens if request.thought else 0
    while not stopped and len(tokens) < (
        most if begins is None else begins + request.max_new_tokens
    ):
        token = int(np.argmax(logits_of([*request.prompt, *tokens])))
        stopped = token == END
        if not stopped:
            tokens.append(token)
        if begins is None:
            begins = answer_at(tokens, opened, stopped or len(tokens) == most)
        if not stopped and begins is not None:
            stopped = ended(tokens[begins:], request.until)
    stopped = stopped and bool(request.max_new_tokens)
    scores = []
    for continuation in request.score:
        total, greedy = 0.0, True
        for i, token in enumerate(continuation):
            logits = logits_of([*request.prompt, *continuation[:i]]).astype(float)
            total += logits[token] - np.log(np.exp(logits).sum())
            greedy = greedy and int(np.argmax(logits)) == token
        scores.append((pytest.approx(total, abs=1e-5), greedy))
    return Outcome(tuple(tokens), stopped, tuple(scores), answer_at=begins)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(groups, shapes)
def test_company_changes_no_outcome(asked: list[list[Request]], shape: Shape) -> None:
    outcomes, _ = run(asked, shape)
    every = [request for group in asked for request in group]
    assert len(outcomes) == len(every)
    for request, outcome in zip(every, outcomes, strict=True):
        if outcome.error is None:
            assert outcome == alone(request)


@given(groups)
def test_with_room_nothing_is_an_error(asked: list[list[Request]]) -> None:
    outcomes, schedule = run(asked, Shape(1000, (16, 4), (4,)))
    assert all(outcome.error is None for outcome in outcomes)
    assert schedule.finished == len(outcomes)


def test_what_never_fits_is_an_error_of_its_own() -> None:
    shape = Shape(60, (8,), (4,), sequences=8)
    small, large = Request((1, 2, 3), 4), Request((1, *[2] * 50), 4)
    outcomes, _ = run([[small, large], [large], [small]], shape)
    assert [outcome.error for outcome in outcomes] == [
        None,
        "needs 55 of 53 tokens of context",
        "needs 55 of 53 tokens of context",
        None,
    ]
    assert outcomes[0] == outcomes[3] == alone(small)


def test_too_many_continuations_are_an_error() -> None:
    asked = Request((1, 2), 1, score=((1, 2),) * 6)
    [outcome], _ = run([[asked]], Shape(1000, (8,), (4,), sequences=8))
    assert outcome.error == "asks for 6 continuations, 5 are possible"


def test_a_shared_prefix_is_computed_once() -> None:
    asked = [Request((*range(1, 6), *[1] * 40, i), 0, ((1,),)) for i in range(1, 6)]
    _, schedule = run([[one] for one in asked[:1]] + [asked[1:]], Shape(1000, (16, 4), (4,)))
    assert schedule.rows == 5  # each request's own last token; the rest was shared beforehand


def test_groups_share_what_is_theirs() -> None:
    one = [Request((1, *[2] * 30, i), 1) for i in range(1, 5)]
    two = [Request((1, *[3] * 20, i), 1) for i in range(1, 5)]
    _, schedule = run([one, two], Shape(1000, (16, 4), (4,)))
    assert schedule.rows == (30 + 4) + (20 + 4)


def test_batches_are_padded_to_their_shape() -> None:
    """A prompt of three tokens, whose last one waits behind the shared ones, then five answers."""
    _, schedule = run([[Request((1, 2, 3), 6)]], Shape(1000, (16, 4), (4,)))
    assert schedule.rows + schedule.padded_rows == 4 * schedule.batches


def test_a_group_that_does_not_fit_is_split() -> None:
    """Its shared tokens are computed once for each part."""
    shared = (1, *[2] * 25)
    asked = [Request((*shared, i), 2) for i in range(1, 6)] * 4
    outcomes, schedule = run([asked, [Request((4, 5), 1)]], Shape(80, (16, 4), (4,)))
    assert outcomes[:20] == [alone(request) for request in asked]
    new = sum(len(o.tokens) - (not o.stopped) for o in outcomes)
    parts = (schedule.rows - new - 2 - 20) / len(shared)
    assert parts == int(parts) > 1


@given(prompts, st.sampled_from(["12", "3", "55"]))
def test_an_answer_ends_with_one_of_the_texts(prompt: Tokens, text: str) -> None:
    request = Request(prompt, 12, until=(text,))
    [outcome], _ = run([[request]], Shape(1000, (8,), (4,)))
    assert outcome == alone(request)


@given(st.lists(prompts, min_size=1, max_size=6))
def test_common_prefix_is_the_longest_that_leaves_a_token(group: list[Tokens]) -> None:
    length = common_prefix(group)
    shortest = min(map(len, group))
    assert 0 <= length < shortest
    assert all(prompt[:length] == group[0][:length] for prompt in group)
    longer = {prompt[: length + 1] for prompt in group}
    assert len(longer) > 1 or length + 1 == shortest
