"""What the process that measures an endpoint makes of its answers; the endpoint is a stand-in whose
vocabulary is the bytes, as the file's is."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import made_records as made
import pytest
from endpoint import END, Endpoint, events, piece, request
from hypothesis import given
from hypothesis import strategies as st
from made_http import served
from random_gguf import tiny_model

from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Answer, Client
from llmpi.device.measure.over_http import (
    LEAST_TOKENS,
    SLACK_TOKENS,
    OverHttp,
    Texts,
    _counted,
    _itl_s,
)
from llmpi.engine.llama import Model, Settings
from llmpi.engine.records import Served

PROMPT, OUTPUT = 64, 16
PACE_S = 0.01


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("vocabulary") / "tiny.gguf"
    path.write_bytes(tiny_model(1))
    with Model(path, Settings(threads=1), vocabulary_alone=True) as found:
        yield found


def answering(
    vocabulary: Model,
    added: int = 0,
    cached: int = 0,
    tokens: int | None = None,
    together: bool = False,
    says: int | None = None,
    text: str = "a",
    context: int | None = None,
) -> Callable[[dict[str, Any]], bytes]:
    """
    Args:
        added: tokens that it counts beside the prompt's.
        cached: of the prompt.
        tokens: that it gives, where these are not all that are asked for.
        together: whether they come in one piece.
        says: that it gave so many; 0 for nothing.
        text: of each.
        context: to half of which it cuts a prompt that does not fit it, as Ollama does.
    """

    def answer(asked: dict[str, Any]) -> bytes:
        count = tokens or asked["max_tokens"]
        pieces = [piece(text * count)] if together else [piece(text)] * count
        prompt = len(vocabulary.tokenize(asked["prompt"])) + added
        usage = {
            "prompt_tokens": context // 2 + 2 if context and prompt > context else prompt,
            "completion_tokens": count if says is None else says,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        return events(*pieces, END, {"choices": [], "usage": usage})

    return answer


def measured(vocabulary: Model, endpoint: Endpoint) -> OverHttp:
    asked = {**made.workload(PROMPT, OUTPUT, 2), "warmup": 1, "warmup_limit": 1}
    client = Client(request(endpoint.address))
    end = time.monotonic() + 60
    workload = OverHttp(client, Texts(vocabulary), "chat", asked, end)  # type: ignore[arg-type]
    workload.warm_up(30)
    for _, depth in workload.arms():
        workload.repeat(depth, "1/2")
    return workload


def test_every_token_that_is_asked_for_is_clocked(vocabulary: Model) -> None:
    with Endpoint(answering(vocabulary), pace_s=PACE_S) as endpoint:
        cell = measured(vocabulary, endpoint).record()
        prompts = [asked["prompt"] for asked in endpoint.asked]
    assert cell["marks"] == ["over HTTP"]
    assert cell["memory"]["peak_rss_bytes"] is None
    assert [r["served"]["pieces"] for r in cell["repetitions"]] == [1 + OUTPUT] * 2
    for repetition in cell["repetitions"]:  # a busy machine reads the first ones together
        assert LEAST_TOKENS <= len(repetition["itl_s"]) <= OUTPUT
    assert all("contention" not in r for r in cell["repetitions"])
    counted = {len(vocabulary.tokenize(prompt)) for prompt in prompts[1:]}
    assert all(abs(count - PROMPT) <= SLACK_TOKENS for count in counted)
    assert len({prompt[:6] for prompt in prompts}) == len(prompts), "one could be out of a cache"


@pytest.mark.parametrize("added", [-1, 0, 2, 20])
def test_the_prompt_that_is_computed_is_the_one_asked_for(vocabulary: Model, added: int) -> None:
    """A chat template's tokens are of the prompt."""
    with Endpoint(answering(vocabulary, added), pace_s=PACE_S) as endpoint:
        cell = measured(vocabulary, endpoint).record()
    counted = [r["served"]["prompt_tokens"] for r in cell["repetitions"]]
    assert all(abs((count or 0) - PROMPT) <= SLACK_TOKENS for count in counted)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"added": 1000}, "is `serves` right"),
        ({"context": 48}, r"counts 26 tokens in a prompt that has 64 .* OLLAMA_CONTEXT_LENGTH"),
        ({"context": 20}, r"counts 12 tokens .* --ctx-size"),
        ({"cached": 30}, "out of a cache"),
        ({"tokens": 3}, "ends after 3 tokens"),
        ({"together": True}, "came at 1 times"),
        ({"says": 10**9 - 1}, "where [0-9]+ were asked for"),
        ({"tokens": 5, "says": 9, "text": ""}, "answers with no text"),
        ({"says": 0, "text": "a" * 20}, "counts no tokens, and [0-9]+ pieces"),
    ],
)
def test_what_would_be_another_measurement_is_none(
    vocabulary: Model, how: dict[str, Any], why: str
) -> None:
    with (
        Endpoint(answering(vocabulary, **how), pace_s=PACE_S) as endpoint,
        pytest.raises(EndpointError, match=why),
    ):
        measured(vocabulary, endpoint)


def answered(pieces: list[tuple[int, str]], said: Served) -> Answer:
    return Answer(
        start_ns=0,
        pieces=pieces,
        thought=None,
        text="",
        stopped=False,
        served=said,
        server=None,
    )


def test_more_tokens_than_a_text_has_are_no_tokens() -> None:
    said = served(output_tokens=60)
    answer = answered([(at, "a") for at in range(6)], said)
    with pytest.raises(EndpointError, match="counts 60 tokens in an answer that has 6 "):
        _counted("chat", answer, 61, 6)


def test_pieces_that_something_held_back_are_no_speed(vocabulary: Model) -> None:
    """As a proxy that sends on what it has when the answer is over."""
    with (
        Endpoint(answering(vocabulary), pace_s=0.0) as endpoint,
        pytest.raises(EndpointError, match="hold them back"),
    ):
        measured(vocabulary, endpoint)


def test_pieces_of_tokens_are_no_tokens() -> None:
    stamps = range(0, 27 * 10**7, 10**7)
    pieces = [(at, "a") for at in stamps]
    answer = answered(pieces, served())
    gaps = _itl_s("chat", answer, 9, 1, 4)
    assert len(gaps) == 8
    assert sum(gaps) == pytest.approx(0.26)


def test_tokens_that_come_together_are_there_at_the_same_time(vocabulary: Model) -> None:
    def in_pairs(asked: dict[str, Any]) -> bytes:
        count = asked["max_tokens"] // 2 * 2
        usage = {"prompt_tokens": PROMPT, "completion_tokens": count}
        return events(*[piece("ab")] * (count // 2), END, {"choices": [], "usage": usage})

    with Endpoint(in_pairs, pace_s=PACE_S) as endpoint:
        workload = OverHttp(
            Client(request(endpoint.address)),
            Texts(vocabulary),
            "chat",
            made.workload(PROMPT, 19),
            time.monotonic() + 60,
        )
        done = workload.repeat(None, "1/1")
    # Of twenty those that were there first are behind no other: two, or more where it is busy.
    half = len(done["itl_s"]) // 2
    assert half <= 9 and done["itl_s"][half:] == [0.0] * half


def test_tokens_that_come_together_are_as_fast_as_they_come() -> None:
    """Eight of two each, 0.1 s apart: 20 tokens/s, whoever counts them."""
    pieces = [(at * 10**8, "ab") for at in range(8)]
    for told in ({"output_tokens": 16}, {}):
        answer = answered(pieces, served(**told))
        tokens = _counted("chat", answer, 17, 16)
        gaps = _itl_s("chat", answer, tokens, 2, 4)
        assert len(gaps) / sum(gaps) == pytest.approx(20)


def test_a_draft_that_is_there_with_the_first_token_is_no_speed() -> None:
    pieces = [(0, "a"), (0, "b"), *((at * 10**8, "c") for at in range(1, 9))]
    for first in (0, 1, 2):  # letters of a word that begins there have no token of their own
        gaps = _itl_s("chat", answered(pieces, served(output_tokens=10)), 10, first, 4)
        assert len(gaps) / sum(gaps) == pytest.approx(10)


@given(tokens=st.integers(8, 2000))
def test_a_text_has_as_many_tokens_as_are_asked_for(vocabulary: Model, tokens: int) -> None:
    """But for a character of several tokens at its end."""
    text = Texts(vocabulary).of(tokens)
    assert abs(len(vocabulary.tokenize(text)) - tokens) <= SLACK_TOKENS


@pytest.mark.parametrize("tokens", [1, 2, 3, 4])
def test_a_text_is_never_empty(vocabulary: Model, tokens: int) -> None:
    assert Texts(vocabulary).of(tokens)
