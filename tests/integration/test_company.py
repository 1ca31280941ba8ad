"""A model that says something else in company than alone is found, and asked one thing at a time.

The fault is put between a real engine and a real model: once a batch, two sequences get each
other's token, as an engine that mixes their states would have it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmpi.engine.llama import Engine, Settings
from llmpi.quality.batching import answer, company
from llmpi.quality.batching.engine import BatchEngine, Lane
from llmpi.quality.batching.schedule import Request, Row, shape_of
from llmpi.quality.records import AnsweredBlock, Decoding
from llmpi.records import read, sha256_of, write_json

CONTEXT_TOKENS = 2048
CITIES = ["France", "Italy", "Spain", "Norway"]


def mixed_up(rows: Sequence[Row], padding: int) -> list[Row]:
    """The first token of each of two sequences that are not the padding's, exchanged."""
    first: dict[int, int] = {}
    for i, row in enumerate(rows):
        if 0 < row.sequence < padding:
            first.setdefault(row.sequence, i)
    mixed = list(rows)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        mixed[one] = rows[one]._replace(token=rows[other].token)
        mixed[other] = rows[other]._replace(token=rows[one].token)
    return mixed


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Lane._decode_rows

    def decode_mixed_up(lane: Lane, rows: Sequence[Row]) -> None:
        decode(lane, mixed_up(rows, lane.shape.sequences - 1))

    monkeypatch.setattr(Lane, "_decode_rows", decode_mixed_up)


def made(finished, quant: str) -> Path:
    return finished.folder / f"results/gguf/smollm2-135m/{quant}.gguf"


def opened(gguf: Path) -> BatchEngine:
    return BatchEngine(gguf, threads=2, shape=shape_of(CONTEXT_TOKENS))


@pytest.mark.parametrize("quant", ["F16", "Q4_0"])
def test_an_honest_engine_is_trusted(finished, quant: str) -> None:
    gguf = made(finished, quant)
    with opened(gguf) as engine:
        assert company.objection(engine, gguf) is None


@pytest.mark.parametrize("quant", ["F16", "Q4_0"])
def test_one_that_mixes_up_is_not(finished, tampered, quant: str) -> None:
    gguf = made(finished, quant)
    with opened(gguf) as engine:
        said = company.objection(engine, gguf)
    assert said
    assert "answered otherwise together than alone" in said


def test_alone_is_what_the_lone_engine_says(finished, tampered) -> None:
    gguf = made(finished, "F16")
    with opened(gguf) as engine:
        prompts = [tuple(engine.tokenize(f"The capital of {city} is")) for city in CITIES]
        texts = [tuple(engine.tokenize(" not known")), tuple(engine.tokenize(" a city"))]
        requests = [Request(prompt, 6, tuple(texts)) for prompt in prompts]
        engine.one_at_a_time = "as a test wants it"
        assert engine.share([requests]) == 0
        outcomes, counts = engine.run([requests[:1], requests[1:]])
    assert counts["one_at_a_time"] == "as a test wants it"
    assert counts["padded_rows"] == 0
    with Engine(gguf, Settings(threads=2), context_tokens=256) as lone:
        for prompt, outcome in zip(prompts, outcomes, strict=True):
            assert outcome.tokens == continued(lone, prompt, len(outcome.tokens))
            for text, score in zip(texts, outcome.scores, strict=True):
                expected = company._likelihood(lone, prompt, text)
                assert score.log_likelihood == pytest.approx(expected, abs=0.02)


def continued(lone: Engine, prompt: Sequence[int], count: int) -> tuple[int, ...]:
    lone.keep(0)
    lone.decode(prompt)
    said: list[int] = []
    while len(said) < count:
        said.append(lone.greedy())
        lone.decode(said[-1:])
    return tuple(said)


def test_what_only_scores_alone_answers_nothing(finished) -> None:
    with opened(made(finished, "F16")) as engine:
        prompt, text = tuple(engine.tokenize("Two and two is")), tuple(engine.tokenize(" four"))
        together = [[Request(prompt, 0, (text,))]]
        engine.share(together)
        (expected,), _ = engine.run(together)
        engine.one_at_a_time = "as a test wants it"
        engine.share(together)
        (found,), _ = engine.run(together)
        (too_long,), _ = engine.run([[Request(prompt, CONTEXT_TOKENS)]])
    assert found.tokens == ()
    assert found.scores[0].log_likelihood == pytest.approx(
        expected.scores[0].log_likelihood, abs=0.02
    )
    assert "tokens of context" in (too_long.error or "")


def test_the_reason_stands_in_the_record(finished, tampered, tmp_path: Path) -> None:
    """The process that answers, here in the test's own so that the fault reaches it."""
    asked = [[conversation(f"What is the capital of {city}?") for city in CITIES]]
    job: answer.Job = {
        "gguf": str(made(finished, "Q4_0")),
        "blocks": [asked],
        "settings": decoding(),
        "threads": 2,
        "folder": str(tmp_path / "blocks"),
        "company": None,
        "company_file": str(tmp_path / "company.json"),
        "first": 0,
        "last": 1,
    }
    write_json(tmp_path / "job.json", job)
    answer.main(str(tmp_path / "job.json"), str(tmp_path / "out.json"))
    start = read(answer._start_of(tmp_path / "blocks", [asked]), answer.Start)["start"]
    block = read(tmp_path / "blocks" / start / answer.block_name(asked), AnsweredBlock)
    assert "otherwise together than alone" in (block["batching"]["one_at_a_time"] or "")
    assert "Paris" in block["answers"][0]["text"]
    found = read(tmp_path / "company.json", answer.Company)["one_at_a_time"]
    assert found == block["batching"]["one_at_a_time"]


def test_what_was_found_before_is_not_looked_for_again(finished, tmp_path: Path) -> None:
    """Whoever starts the process tells it; what was found is written where that is read."""
    gguf = made(finished, "Q4_0")
    how: Any = {"settings": decoding(), "threads": 2, "store": tmp_path}

    def reason(city: str) -> str | None:
        asked = [[[conversation(f"What is the capital of {city}?")]]]
        [block] = answer.answer_blocks(gguf, sha256_of(gguf), asked, **how)
        return block["batching"]["one_at_a_time"]

    assert reason("France") is None
    [kept] = tmp_path.glob("company-*.json")
    assert read(kept, answer.Company) == {"one_at_a_time": None}
    write_json(kept, {"one_at_a_time": "as it was found before"})
    assert reason("Italy") == "as it was found before"


def decoding() -> Decoding:
    return {
        "computation": {"kv_cache": "f16", "flash_attention": "auto"},
        "max_new_tokens": 8,
        "context_tokens": CONTEXT_TOKENS,
        "thinking_tokens": None,
    }


def conversation(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}], "continuation": None}
