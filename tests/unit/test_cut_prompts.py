"""Prompts that an endpoint cuts to its context, of which its own count of their tokens tells; the
vocabulary is the bytes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import made_records as made
import pytest
from endpoint import Endpoint, events, request
from hypothesis import given
from hypothesis import strategies as st
from random_gguf import tiny_model

from llmpi.device.measure.questions import asked
from llmpi.device.records import Asked, AskRequest
from llmpi.engine.records import Failed, Message
from llmpi.quality.cut_prompts import Counted, cut_prompts, not_whole
from llmpi.records import read
from llmpi.remote.ask import ask_task
from llmpi.study.devices import LocalDevice
from llmpi.study.endpoint import Endpoint as Asking

CONTEXT, TEMPLATE = 400, 9
"""Tokens; those that a template adds to a message."""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tiny.gguf"
    path.write_bytes(tiny_model(1))
    return path


def tokens_of(messages: Sequence[Any], context: int | None) -> int:
    """As Ollama counts them: of what does not fit it keeps half a context."""
    whole = sum(len(one["content"].encode()) + TEMPLATE for one in messages)
    return whole if context is None or whole <= context else context // 2 + 2


def ollama(context: int | None) -> Callable[[dict[str, Any]], bytes]:
    def answer(sent: dict[str, Any]) -> bytes:
        count = tokens_of(sent["messages"], context)
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": count, "eval_count": 2}
        said = {"message": {"content": "ice"}, "done": False}
        return "".join(json.dumps(one) + "\n" for one in (said, {"message": {}, **end})).encode()

    return answer


def openai(context: int | None, usage: bool = True) -> Callable[[dict[str, Any]], bytes]:
    def answer(sent: dict[str, Any]) -> bytes:
        count = tokens_of(sent["messages"], context)
        end = {"choices": [{"delta": {"content": "ice"}, "finish_reason": "stop"}]}
        last = {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 1}}
        return events(end, last) if usage else events(end)

    return answer


def of(lengths: Sequence[int]) -> list[list[Message]]:
    """Questions of so many bytes behind what stands before all of them."""
    return [
        [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": "x" * length}]
        for length in lengths
    ]


def answers(endpoint: Endpoint, api: str, conversations: list[list[Message]]) -> list[Asked]:
    how: AskRequest = {
        "what": "a test",
        "endpoint": request(endpoint.address, api),
        "conversations": conversations,
        "max_new_tokens": 8,
        "thinking_tokens": None,
        "thinking_told": True,
    }
    return [asked(how)]


SERVERS = {"ollama": ollama, "chat": openai}


@pytest.mark.parametrize("api", SERVERS)
@pytest.mark.parametrize(
    ("lengths", "cut"), [([100, 200, 500], 1), ([500, 50, 450, 430], 3), ([800, 900, 1000], 3)]
)
def test_prompts_that_are_cut_are_no_score(
    gguf: Path, api: str, lengths: list[int], cut: int
) -> None:
    conversations = of(lengths)
    with Endpoint(SERVERS[api](CONTEXT)) as endpoint:
        parts = answers(endpoint, api, conversations)
    found = not_whole(gguf, conversations, parts)
    assert found and found["status"] == "failed"
    assert f"cut {cut} of {len(lengths)} prompts" in found["reason"]
    for setting in ("OLLAMA_CONTEXT_LENGTH", "num_ctx", "--ctx-size"):
        assert setting in found["reason"]


@pytest.mark.parametrize("api", SERVERS)
def test_prompts_that_fit_are_whole(gguf: Path, api: str) -> None:
    conversations = of([10, 100, 350, 351])
    with Endpoint(SERVERS[api](CONTEXT)) as endpoint:
        assert not_whole(gguf, conversations, answers(endpoint, api, conversations)) is None


def test_of_who_does_not_count_nobody_can_tell(gguf: Path) -> None:
    conversations = of([10, 1000])
    with Endpoint(openai(CONTEXT, usage=False)) as endpoint:
        assert not_whole(gguf, conversations, answers(endpoint, "chat", conversations)) is None


def test_a_task_whose_prompts_are_cut_is_a_cell_that_failed(gguf: Path, tmp_path: Path) -> None:
    """And none whose prompts are whole; its parts are not kept."""
    conversations, record = of([100, 600]), tmp_path / "asked.json"
    with Endpoint(ollama(CONTEXT)) as endpoint:
        served: Any = {"model": "m", "quant": "F16", "name": "m"}
        for context_is_enough in (False, True):
            wanted = conversations[:1] if context_is_enough else conversations
            ask_task(
                ("here", "m", "F16", "server"),
                {
                    "device": LocalDevice(transport="local", store=str(tmp_path / "store")),
                    "endpoint": Asking(url=endpoint.address, api="ollama", serves=[served]),
                    "questions": {"max_new_tokens": 8, "thinking_tokens": None},
                },
                wanted,
                lambda _, __: {"status": "ok"},
                what="a test",
                gguf=gguf,
                provisioned=made.provisioned("here"),
                asked=record,
            )
            if context_is_enough:
                assert json.loads(record.read_text()) == {"status": "ok"}
            else:
                assert "num_ctx" in read(record, Failed)["reason"]
            assert not record.with_suffix(".parts").exists()


words = st.integers(1, 5000)
prompts = st.lists(words, min_size=1, max_size=30)
ROLES = ("system", "user", "assistant", "user")


@given(prompts, st.integers(0, 300), st.lists(st.integers(-3, 3), min_size=30, max_size=30))
def test_a_template_and_a_seam_are_no_cut(lengths: list[int], added: int, seams: list[int]) -> None:
    counted = [
        Counted(max(1, length + added + seam), length, ROLES)
        for length, seam in zip(lengths, seams, strict=False)
    ]
    assert cut_prompts(counted) == []


@given(prompts, st.integers(0, 300), st.integers(500, 4000))
def test_all_that_is_cut_to_half_a_context_is_found(
    lengths: list[int], added: int, context: int
) -> None:
    """Unless hardly more than half a context is words."""
    counted = [
        Counted(n + added if n + added <= context else context // 2 + 2, n, ROLES) for n in lengths
    ]
    cut = {one for one in counted if one.words + added > context}
    found = set(cut_prompts(counted))
    assert found <= cut
    if any(one.words > 0.9 * context for one in cut):
        assert found


def test_a_prompt_that_is_counted_otherwise_is_not_cut() -> None:
    """Some script of which one tokenizer makes less than the other."""
    plain = [Counted(n + 20, n, ROLES) for n in (100, 400, 800)]
    assert cut_prompts([*plain, Counted(200, 300, ROLES)]) == []
    assert cut_prompts([*plain, Counted(200, 900, ROLES)]) == [Counted(200, 900, ROLES)]
