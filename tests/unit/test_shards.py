"""A task dealt to shards and put together again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import answer, sent
from support import ROOT

from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.squad.blocks import plan_of
from llmpi.quality.squad.evaluate import merge
from llmpi.quality.squad.shards import MixedEnginesError, answer_shard, range_of, together
from llmpi.records import failed, sha256_of_json

SQUAD = json.loads((ROOT / "config/data/field_qa.json").read_text())
QUESTIONS = {"status": "ok", "squad": SQUAD, "sha256": sha256_of_json(SQUAD)}
SETTINGS = {
    "computation": BY_DEFAULT,
    "max_new_tokens": 8,
    "thinking_tokens": None,
    "context_tokens": 512,
    "examples": 1,
    "prompt": 1,
    "language": "en",
    "block_questions": 20,
}
MANIFEST = {"status": "ok", "sha256": "ab" * 32}
ENGINE = {"name": "an engine", "features": ["AVX2"]}


@given(st.integers(1, 60), st.integers(1, 200))
def test_ranges_hold_every_block_once_in_order_and_evenly(shards: int, blocks: int) -> None:
    ranges = [range_of(shard, shards, blocks) for shard in range(shards)]
    assert [i for part in ranges for i in part] == list(range(blocks))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


def answered(engine: dict[str, Any] = ENGINE) -> list[dict[str, Any]]:
    """Records of all blocks, as an engine that says the question's length would have made them."""
    return [
        {
            "answers": [
                answer(f"{len(item['messages'][-1]['content'])}", log_likelihood=-1.0)
                for group in block
                for item in group
            ],
            "batching": {"batches": len(block)},
            "has_chat_template": True,
            "chat_template_sha256": "cd" * 32,
            "sent": sent(),
            "engine": engine,
        }
        for block in plan_of(QUESTIONS, SETTINGS).asked
    ]


def dealt(records: list[dict[str, Any]], shards: int) -> list[dict[str, Any]]:
    ranges = [range_of(shard, shards, len(records)) for shard in range(shards)]
    return [{"status": "ok", "answered": [records[i] for i in part]} for part in ranges]


@pytest.mark.parametrize("shards", [2, 3, 7, 50])
def test_however_many_shards_the_record_is_the_same(shards: int) -> None:
    records = answered()
    assert 3 < len(records) < 50, "some shards are empty, others not"
    whole = merge(dealt(records, 1), MANIFEST, QUESTIONS, SETTINGS)
    assert whole["summary"]["items"] == 125
    assert merge(dealt(records, shards), MANIFEST, QUESTIONS, SETTINGS) == whole


def test_a_block_has_as_many_questions_as_is_asked_for() -> None:
    plan = plan_of(QUESTIONS, SETTINGS)
    sizes = [sum(map(len, block)) for block in plan.asked]
    assert sum(sizes) == 125
    assert min(sizes[:-1]) >= 20
    assert len(plan_of(QUESTIONS, {**SETTINGS, "block_questions": None}).blocks) == 1
    assert len(plan_of(QUESTIONS, {**SETTINGS, "block_questions": None, "descent": {}}).blocks) > 1


def test_the_first_shard_that_failed_is_the_tasks_record() -> None:
    bad = [failed("quality", "the engine died of SIGSEGV"), failed("quality", "out of memory")]
    good = dealt(answered(), 2)
    assert merge([good[0], bad[0], bad[1]], MANIFEST, QUESTIONS, SETTINGS) == bad[0]


def test_answers_of_two_engines_are_not_put_together() -> None:
    two = [dealt(answered(), 2)[0], dealt(answered({"features": ["AVX512"]}), 2)[1]]
    with pytest.raises(MixedEnginesError, match="answer_shard"):
        together(two)


def test_a_variant_that_could_not_be_made_is_not_asked(tmp_path) -> None:
    manifest = failed("quantize", "no such type")
    options = {"shard": 0, "shards": 2, "threads": 1, "store": tmp_path}
    assert answer_shard(tmp_path / "no.gguf", manifest, QUESTIONS, SETTINGS, **options) == manifest


def test_an_empty_shard_starts_no_engine(tmp_path) -> None:
    options = {"shard": 0, "shards": 99, "threads": 1, "store": tmp_path}
    record = answer_shard(tmp_path / "no.gguf", MANIFEST, QUESTIONS, SETTINGS, **options)
    assert record == {"status": "ok", "answered": []}
