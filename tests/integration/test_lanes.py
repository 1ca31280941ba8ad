"""Lanes of a real engine: how many threads there are, and how a block is cut, changes no answer."""

import json
from pathlib import Path

import pytest
from support import ROOT

from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.llama import EngineError
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Request, shape_of
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages

ABSTENTION = "unanswerable"


@pytest.fixture(scope="module")
def gguf(finished) -> Path:
    return finished.folder / "results/gguf/smollm2-135m/Q4_0.gguf"


def groups_of(engine: BatchEngine) -> list[list[Request]]:
    bos, eos = engine.special_texts()
    chat = ChatFormat(engine.chat_template(), bos_token=bos, eos_token=eos)
    document = json.loads((ROOT / "config/data/field_qa.json").read_text())
    score = (tuple(engine.tokenize(ABSTENTION)),)
    return [
        [
            Request(
                tuple(engine.tokenize(chat.render(messages(p.context, q.question, 1)).text)),
                16,
                score,
            )
            for q in p.questions
        ]
        for p in parse(document, "field")[:4]
    ]


def test_the_number_of_threads_changes_nothing(gguf: Path) -> None:
    found = []
    for threads in (1, 2, 3):
        with BatchEngine(gguf, threads=threads, shape=shape_of(2048)) as engine:
            groups = groups_of(engine)
            engine.share(groups)
            told: list[int] = []
            found.append(engine.run(groups, done=told.append))
            assert told[-1] == sum(map(len, groups)), "progress ends with all of them"
    outcomes, counts = found[0]
    assert counts["parts"] > 1
    assert all(outcome.error is None and outcome.scores for outcome in outcomes)
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_what_fits_only_the_whole_context_has_it(gguf: Path) -> None:
    with BatchEngine(gguf, threads=2, shape=shape_of(2048)) as engine:
        short = Request(tuple(engine.tokenize("The capital of France is")), 4)
        long = Request(tuple(engine.tokenize("The river bends to the left. " * 200)), 4)
        assert 1024 < long.needed_tokens < 2048 - 256
        engine.share([[short], [long]])
        outcomes, _ = engine.run([[short], [long], [short]])
        assert [outcome.error for outcome in outcomes] == [None] * 3
        assert outcomes[0] == outcomes[2]
        engine.share([[short]])
        assert engine.run([[short]])[0] == [outcomes[0]]


def test_an_error_in_a_lane_is_raised(gguf: Path) -> None:
    with BatchEngine(gguf, threads=2, shape=shape_of(2048)) as engine:
        groups = groups_of(engine)
        engine.share(groups)

        def refuse(_: int) -> None:
            raise EngineError("no more")

        with pytest.raises(EngineError, match="no more"):
            engine.run(groups, done=refuse)
