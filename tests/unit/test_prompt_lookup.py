"""Speculative decoding says what greedy decoding says, whatever is drafted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import tiny_llama

from llmpi.device.machine.contention import Processors
from llmpi.device.measure.single import Single
from llmpi.engine import info as engine_info
from llmpi.engine.fixed_text import TEXT, passage
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.open_texts import TEXTS, Kind, open_text
from llmpi.engine.prompt_lookup import PromptLookup
from llmpi.engine.speculation import Speculation, agreeing
from llmpi.study.measuring import Workload


class Exact:
    """A model without rounding: the next token hangs on the last two and the length, by a table."""

    def __init__(self, table: Sequence[int]) -> None:
        self._table, self.held = table, []

    def decode_all(self, tokens: Sequence[int]) -> np.ndarray:
        rows = []
        for token in tokens:
            self.held.append(token)
            rows.append(np.eye(4)[self._next()])
        return np.array(rows)

    def decode(self, tokens: Sequence[int]) -> None:
        self.decode_all(tokens)

    def greedy(self) -> int:
        return self._next()

    def keep(self, tokens: int) -> None:
        del self.held[tokens:]

    def _next(self) -> int:
        a, b = (self.held[-2:] * 2)[:2]
        return self._table[(a * 4 + b + len(self.held) // 7) % len(self._table)]


tokens = st.lists(st.integers(0, 3), min_size=1, max_size=30)


@given(
    tokens,
    st.lists(st.integers(0, 3), min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_the_text_is_the_greedy_one(
    prompt: list[int], table: list[int], ngram: int, draft_tokens: int
) -> None:
    plain = Exact(table)
    plain.decode(prompt)
    expected = [plain.greedy()]
    for _ in range(25):
        plain.decode([expected[-1]])
        expected.append(plain.greedy())

    model, speculation = Exact(table), Speculation(PromptLookup(ngram, draft_tokens))
    model.decode(prompt)
    said = [model.greedy()]
    speculation.begin(prompt)
    speculation.say(said[0])
    sizes = []
    while len(said) < len(expected):
        got = speculation.extend(model, len(expected) - len(said))
        sizes.append(len(got))
        said += got
    assert said == expected
    assert model.held == [*prompt, *said[:-1]], "what was rejected is taken out again"
    assert max(sizes) <= draft_tokens + 1
    assert speculation.steps == len(sizes)
    assert speculation.steps + speculation.accepted == len(said) - 1
    assert speculation.drafted >= speculation.accepted


def test_what_followed_the_last_time_is_drafted() -> None:
    lookup = PromptLookup(ngram=2, draft_tokens=3)
    text = [1, 2, 7, 7, 1, 2, 8, 9, 5, 1]
    lookup.begin(text)
    text.append(2)
    assert lookup.draft(text, 9) == [8, 9, 5]
    assert lookup.draft(text, 1) == [8]
    assert lookup.draft(text, 0) == []
    lookup.begin([1, 2])
    assert lookup.draft([1, 2, 3], 9) == [], "the last tokens are no earlier place of themselves"


@pytest.mark.parametrize(
    ("draft", "said", "count"),
    [([], [4], 0), ([1, 2], [1, 2, 9], 2), ([1, 2], [1, 3, 9], 1), ([1, 2], [2, 2, 9], 0)],
)
def test_a_draft_is_kept_up_to_the_first_difference(
    draft: list[int], said: list[int], count: int
) -> None:
    assert agreeing(draft, said) == count


# --- on an engine ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine_info.log_to(lambda _: None)
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


def generated(gguf: Path, lookup: PromptLookup | None = None, **more: Any) -> dict[str, Any]:
    asked = {"prompt_tokens": 400, "output_tokens": 40, "repetitions": 1, **more}
    spec = Workload.model_validate(asked).model_dump()
    with Engine(gguf, Settings(threads=2, kv_cache="q8_0"), context_tokens=440) as engine:
        drafting = Speculation(lookup) if lookup else None
        workload = Single(engine, "copy", spec, None, Processors(2), drafting)
        for _, depth in workload.arms():
            workload.repeat(depth, "1/1")
        return workload.record()


def test_an_engine_says_the_same_and_every_token_has_its_time(gguf: Path) -> None:
    """A random model soon repeats itself, so that drafts are accepted."""
    plain = generated(gguf, None, prompt="passage")
    quick = generated(gguf, PromptLookup(2, 4), prompt="passage")
    assert quick["output"] == plain["output"]
    [repetition] = quick["repetitions"]
    assert len(repetition["itl_s"]) == 40
    assert repetition["accepted"] > 0
    assert sum(seconds > 0 for seconds in repetition["itl_s"]) == repetition["steps"] < 40
    assert "drafted" not in plain["repetitions"][0]


def test_fixed_tokens_are_not_looked_up(gguf: Path) -> None:
    record = generated(gguf, PromptLookup(2, 4), sampling="none")
    assert "drafted" not in record["repetitions"][0]
    assert len(record["repetitions"][0]["itl_s"]) == 40


@pytest.mark.parametrize("count", [100, 1000, 5000])
def test_a_passage_has_its_length_and_begins_its_copy(gguf: Path, count: int) -> None:
    with Engine(gguf, Settings(threads=1), context_tokens=8) as engine:
        prompt = passage(engine, count)
        text = engine.tokenize(TEXT)
        assert len(prompt) == count
        start = next(i for i in (0, 1) if prompt[i : i + 8] == prompt[-8:])
        assert prompt[start : start + 20] == text[start : start + 20]
        with pytest.raises(EngineError, match="holds no text"):
            passage(engine, 40)


@pytest.mark.parametrize("kind", [*TEXTS])
@pytest.mark.parametrize("count", [64, 200, 3000])
def test_a_text_of_a_kind_has_its_length_and_ends_where_it_is_to_go_on(
    gguf: Path, kind: Kind, count: int
) -> None:
    with Engine(gguf, Settings(threads=1), context_tokens=8) as engine:
        prompt = open_text(engine, kind, count)
        assert len(prompt) == count
        assert prompt[-60:] == engine.tokenize(TEXTS[kind])[-60:]
        assert prompt[: len(engine.tokenize(""))] == engine.tokenize("")
