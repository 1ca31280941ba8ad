"""Questions that an endpoint is asked: how, what becomes of its answers, and how they are kept."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_records as made
import pytest
from endpoint import Endpoint, events, raw, request

from llmpi.device.measure.http_stream import UnreachableError
from llmpi.device.measure.questions import asked, parted
from llmpi.device.records import AskRequest
from llmpi.errors import LlmpiError
from llmpi.quality.squad.asked import conversations, score_asked
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.records import AskingSettings
from llmpi.remote.ask import ask_there
from llmpi.study.devices import LocalDevice

HOW: AskingSettings = {
    "max_new_tokens": 8,
    "examples": 2,
    "prompt": 1,
    "language": "en",
    "thinking_tokens": None,
}


def told(text: str, reason: str = "stop", **more: object) -> bytes:
    """A chat's answer in a stream."""
    usage = {"prompt_tokens": 40, "completion_tokens": 2}
    delta = {"choices": [{"delta": {"content": text, **more}, "finish_reason": None}]}
    end = {"choices": [{"delta": {}, "finish_reason": reason}]}
    return events(delta, end, {"choices": [], "usage": usage})


def asking(
    endpoint: Endpoint, texts: list[str], api: str = "completions", **more: object
) -> AskRequest:
    return {  # type: ignore[typeddict-item]  # more is its own
        "what": "a test",
        "endpoint": request(endpoint.address, api),
        "conversations": [[{"role": "user", "content": text}] for text in texts],
        "max_new_tokens": 8,
        "thinking_tokens": None,
        "thinking_told": True,
        **more,
    }


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_question_is_a_chat_in_the_endpoints_own_template(api: str) -> None:
    with Endpoint(told("the ice")) as endpoint:
        found = asked(asking(endpoint, ["Why?"], api))
        [sent] = endpoint.asked
    assert sent["path"] == "/chat/completions"
    assert sent["messages"] == [{"role": "user", "content": "Why?"}]
    assert (sent["max_tokens"], sent["temperature"]) == (8, 0)
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert "ignore_eos" not in sent, "an answer ends where it ends"
    assert found["answers"] == [
        {
            "text": "the ice",
            "thought": None,
            "prompt_tokens": 40,
            "new_tokens": 2,
            "stopped": True,
            "error": None,
        }
    ]


def test_ollama_is_asked_in_its_own_way() -> None:
    lines: list[dict[str, object]] = [
        {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"message": {"role": "assistant", "content": "the ice"}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "length", "eval_count": 5},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with Endpoint(body) as endpoint:
        [said] = asked(asking(endpoint, ["Why?"], "ollama", thinking_tokens=16))["answers"]
        [sent] = endpoint.asked
    assert (sent["path"], sent["think"], sent["options"]["num_predict"]) == ("/api/chat", True, 24)
    assert (said["thought"], said["text"], said["stopped"]) == ("hm", "the ice", False)
    assert (said["new_tokens"], said["prompt_tokens"]) == (5, 0)


@pytest.mark.parametrize(("api", "field"), [("chat", "chat_template_kwargs"), ("ollama", "think")])
@pytest.mark.parametrize("takes", [True, False])
def test_whether_it_can_be_told_to_think_is_found_out(api: str, field: str, takes: bool) -> None:
    """By a question that is none of the task's; a record says what came of it."""
    line = {"message": {"content": "ice"}, "done": True, "done_reason": "stop"}
    with Endpoint(json.dumps(line).encode() if api == "ollama" else told("ice")) as endpoint:
        endpoint.refuses = frozenset() if takes else frozenset({field})
        found = asked(asking(endpoint, ["Why?"], api, thinking_told=None))
        assert [field in one for one in endpoint.asked] == ([True] * 2 if takes else [1, 0, 1, 0])
        asks = [one["messages"][0]["content"] for one in endpoint.asked]
        assert asks == ["Say yes."] * (len(asks) - 1) + ["Why?"]
        assert found["thinking_told"] == takes
        again = asked(asking(endpoint, ["Why?"], api, thinking_told=found["thinking_told"]))
        assert (field in endpoint.asked[-1]) == takes
    assert [said["error"] for said in found["answers"] + again["answers"]] == [None, None]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_refusal_by_chance_changes_no_other_question(number: int) -> None:
    """Neither of the question that finds out, nor of one of the task's."""
    with Endpoint(told("ice")) as endpoint:
        endpoint.unwell = frozenset({number})
        found = asked(asking(endpoint, ["Why?", "When?", "How?"], thinking_told=None))
        sent = [one for one in endpoint.asked if one["messages"][0]["content"] != "Say yes."]
    assert found["thinking_told"]
    assert all(one["chat_template_kwargs"] == {"enable_thinking": False} for one in sent)
    errors = [bool(said["error"]) for said in found["answers"]]
    assert errors == [number == 1, number == 2, False]


def test_to_say_nothing_is_an_answer() -> None:
    with Endpoint(events({"choices": [{"delta": {}, "finish_reason": "stop"}]})) as endpoint:
        [said] = asked(asking(endpoint, ["Why?"]))["answers"]
    assert (said["text"], said["error"], said["stopped"]) == ("", None, True)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>hm</think>\n\nice", "<think>hm", "\n\nice"),
        ("hm</think>ice", "hm", "ice"),
        ("<think>hm", "<think>hm", ""),
        ("I <think> so", None, "I <think> so"),
    ],
)
def test_a_thought_that_is_left_in_the_text_is_no_answer(
    text: str, thought: str | None, answer: str
) -> None:
    assert parted(None, text) == (thought, answer)


def test_a_thought_without_end_is_no_answer() -> None:
    with Endpoint(told("<think>hm", "length")) as endpoint, pytest.raises(UnreachableError):
        asked(asking(endpoint, ["Why?"]))


def test_who_says_all_in_its_thought_has_not_answered() -> None:
    """Whether the thought ended is not told; an empty answer would pass for abstaining."""
    body = told("", reasoning_content="It is the ice.")
    with Endpoint(lambda sent: told("ice") if sent["max_tokens"] > 8 else body) as endpoint:
        with pytest.raises(UnreachableError, match="ended in its thought"):
            asked(asking(endpoint, ["Why?"]))
        [said] = asked(asking(endpoint, ["Why?"], thinking_tokens=8))["answers"]
    assert (said["text"], said["error"]) == ("ice", None)


def test_a_thought_that_ends_in_the_text_may_be_followed_by_nothing() -> None:
    with Endpoint(told("<think>hm</think>")) as endpoint:
        [said] = asked(asking(endpoint, ["Why?"]))["answers"]
    assert (said["text"], said["error"]) == ("", None)


@pytest.mark.parametrize(("tokens", "is_answer"), [(3, False), (8, True)])
def test_an_answer_that_a_context_cuts_is_none(tokens: int, is_answer: bool) -> None:
    """As Ollama, which then ends for its `length`, too."""

    def answer(sent: dict[str, Any]) -> bytes:
        bad = sent["messages"][0]["content"] == "bad"
        told = {"done": True, "done_reason": "length" if bad else "stop", "eval_count": tokens}
        return json.dumps({"message": {"content": "the ice"}, **told}).encode()

    with Endpoint(answer) as endpoint:
        said, other = asked(asking(endpoint, ["bad", "good"], "ollama"))["answers"]
        assert all(sent["shift"] is False for sent in endpoint.asked)
    assert (said["text"], said["stopped"]) == ("the ice", False)
    assert ("num_ctx" in str(said["error"])) != is_answer
    assert other["error"] is None


def test_more_tokens_than_a_prompt_can_have_are_not_told() -> None:
    def answer(sent: dict[str, Any]) -> bytes:
        count = 10**8 if sent["messages"][0]["content"] == "bad" else 40
        end = {"choices": [{"delta": {"content": "ice"}, "finish_reason": "stop"}]}
        return events(end, {"choices": [], "usage": {"prompt_tokens": count}})

    with Endpoint(answer) as endpoint:
        found = asked(asking(endpoint, ["bad", "good"]))["answers"]
    assert [said["prompt_tokens"] for said in found] == [0, 40]


def one_fails(what: bytes) -> Callable[[dict[str, Any]], bytes]:
    return lambda sent: what if sent["messages"][0]["content"] == "bad" else told("ice")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (events({"error": "too long"}), "too long"),
        (events({"choices": [{"delta": {"content": "i"}}]})[:-14], "breaks off"),
        (b"data: {nope\n\n", "no JSON"),
    ],
)
def test_a_question_without_an_answer_says_why_and_the_others_count(what: bytes, why: str) -> None:
    with Endpoint(one_fails(what)) as endpoint:
        first, second = asked(asking(endpoint, ["bad", "good"]))["answers"]
    assert why in str(first["error"]) and first["text"] == ""
    assert (second["error"], second["text"]) == (None, "ice")


def test_who_answers_nothing_at_all_is_no_result() -> None:
    with (
        Endpoint(events({"error": "no model"})) as endpoint,
        pytest.raises(UnreachableError, match="no model"),
    ):
        asked(asking(endpoint, ["Why?", "When?"]))


def test_a_key_in_an_answer_is_in_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", "s3cret-Qv81zz90")

    def answer(sent: dict[str, Any]) -> bytes:
        bad = sent["messages"][0]["content"] == "bad"
        return told("you are s3cret-Qv81zz90" if bad else "ice")

    with Endpoint(answer) as endpoint:
        how = asking(endpoint, ["bad", "good"])
        how["endpoint"]["key_variable"] = "ENDPOINT_KEY"
        found = asked(how)
    assert "s3cret" not in json.dumps(found)
    assert "its key" in str(found["answers"][0]["error"])


def busy(times: int, after: str) -> Callable[[socket.socket], None]:
    """A server that lets nobody in so many times."""
    left = iter(range(times))

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        if next(left, None) is None:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + told("ice"))
        else:
            head = f"HTTP/1.1 429 Slow down\r\nRetry-After: {after}\r\n\r\n"
            connection.sendall(head.encode())

    return talk


def of(address: str) -> AskRequest:
    messages: Any = [{"role": "user", "content": "Why?"}]
    return {
        "what": "a test",
        "endpoint": request(address),
        "conversations": [messages],
        "max_new_tokens": 8,
        "thinking_tokens": None,
        "thinking_told": True,
    }


def test_who_says_when_to_come_again_is_asked_again() -> None:
    """One that counts requests would never be through."""
    with raw(busy(2, "0")) as address:
        [said] = asked(of(address))["answers"]
    assert said["text"] == "ice"


@pytest.mark.parametrize("after", ["601", "99999999999999", "-1", "soon", "²", ""])
def test_who_says_none_or_one_too_far_is_not_there(after: str) -> None:
    with raw(busy(1, after)) as address, pytest.raises(UnreachableError, match="429"):
        asked(of(address))


def test_halves_of_characters_are_no_text() -> None:
    body = b'data: {"choices":[{"delta":{"content":"\\ud800ice"},"finish_reason":"stop"}]}\n\n'
    with Endpoint(body + b"data: [DONE]\n\n") as endpoint:
        [said] = asked(asking(endpoint, ["Why?"]))["answers"]
    assert said["text"].encode() == b"?ice"


def test_answers_are_scored_as_in_process() -> None:
    squad = json.loads(Path("config/data/field_qa.json").read_text(encoding="utf-8"))
    questions = {**made.questions(), "squad": squad}
    paragraphs = parse(questions["squad"], "questions")
    golds = [q.golds[0] if q.golds else "unanswerable" for p in paragraphs for q in p.questions]
    given = conversations(questions, HOW)
    first = paragraphs[0]
    assert given[0] == messages(first.context, first.questions[0].question, 2, 1)
    said = {"thought": None, "prompt_tokens": 9, "new_tokens": 2, "stopped": True, "error": None}
    answers: Any = [{**said, "text": gold} for gold in golds]
    part: Any = {"status": "ok", "on_device": True, "server": "it", "thinking_told": False}
    parts = [{**part, "answers": answers[:1]}, {**part, "answers": answers[1:]}]
    found = score_asked(questions, HOW, request("http://x/v1"), parts)
    assert found["summary"]["metrics"]["f1"]["pct"] == 100
    assert found["endpoint"]["on_device"] and found["summary"]["thresholds"] is None
    assert found["endpoint"]["thinking_told"] is False
    assert [item["id"] for item in found["items"]] == [
        q.id for p in paragraphs for q in p.questions
    ]


def test_what_was_answered_is_kept_until_all_is(tmp_path: Path) -> None:
    """In parts: a broken link, or a server that goes, costs one of them."""
    texts = [f"{i} " + "words " * 5000 for i in range(4)]
    device = LocalDevice(transport="local", store=str(tmp_path / "store"))

    def there(endpoint: Endpoint, address: str) -> list[Any]:
        return ask_there(
            "here",
            device,
            what="a test",
            endpoint={**request(endpoint.address), "url": address},
            conversations=asking(endpoint, texts)["conversations"],
            max_new_tokens=8,
            thinking_tokens=None,
            provisioned=made.provisioned("here"),
            kept=tmp_path / "kept",
        )

    goes = iter([True, True, True, False])
    with Endpoint(lambda _: told("ice") if next(goes, True) else events({"error": "gone"})) as it:
        with pytest.raises(LlmpiError, match="gone"):
            there(it, it.address)
        parts = there(it, it.address)
        sent = [one["messages"][0]["content"][:1] for one in it.asked]
        assert sent == ["S", "0", "1", "2", "S", "2", "3"], "S finds out what it takes"
    assert [said["text"] for part in parts for said in part["answers"]] == ["ice"] * 4


def test_a_question_that_cannot_be_sent_is_told(tmp_path: Path) -> None:
    with Endpoint(b"") as endpoint, pytest.raises(LlmpiError, match="scored_with"):
        ask_there(
            "here",
            LocalDevice(transport="local", store=str(tmp_path / "store")),
            what="a test",
            endpoint=request(endpoint.address),
            conversations=[[{"role": "user", "content": "x" * 200_000}]],
            max_new_tokens=8,
            thinking_tokens=None,
            provisioned=made.provisioned("here"),
            kept=tmp_path / "kept",
        )


def test_a_key_that_a_server_echoes_reaches_no_log_and_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the process that asks, whose words are logged: a refusal, a name, an answer."""
    key = "s3cret-Qv81zz90-kLmn0p"
    monkeypatch.setenv("ENDPOINT_KEY", key)
    caplog.set_level("DEBUG")

    def there(endpoint: Endpoint) -> list[Any]:
        return ask_there(
            "here",
            LocalDevice(transport="local", store=str(tmp_path / "store")),
            what="a test",
            endpoint=request(endpoint.address, key="ENDPOINT_KEY"),
            conversations=asking(endpoint, ["bad", "good"])["conversations"],
            max_new_tokens=8,
            thinking_tokens=None,
            provisioned=made.provisioned("here"),
            kept=tmp_path / "kept",
        )

    for status in (200, 401, 500):
        body = json.dumps({"error": {"message": f"no such key: {key}"}}).encode()
        with Endpoint(body, status, {"Server": key}) as endpoint:
            with pytest.raises(LlmpiError) as failed:
                there(endpoint)
            assert endpoint.keys[0] == f"Bearer {key}"
        assert key not in str(failed.value)
    with Endpoint(one_fails(told(f"it is {key}")), headers={"Server": key}) as endpoint:
        [part] = there(endpoint)
    assert [said["text"] for said in part["answers"]] == ["", "ice"]
    kept = "".join(path.read_text() for path in (tmp_path / "kept").iterdir())
    assert "ice" in kept
    assert "s3cret" not in kept + caplog.text
