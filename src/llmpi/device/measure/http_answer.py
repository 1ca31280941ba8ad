"""An endpoint's answer, message by message, as each API has it; nothing that it says is trusted."""

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from llmpi.engine.records import Served

Json = dict[str, Any]  # a request as its API has it; what comes is anything until it is looked at

MOST = 1e9
"""No count and no rate of a sound endpoint is larger."""
CALLS, REFUSED = "tool_calls", "refusal"
NO_TEXT = "its content is no text"
GIVEN_UP = ("abort", "error", "content_filter", "function_call", CALLS, REFUSED, NO_TEXT)
"""As servers say that an answer has no end (vLLM, SGLang; OpenRouter), or that something else
stands in its place, which nobody asked for: no text would pass for a model that abstains."""


class EndpointError(Exception):
    """What an endpoint answered is of no use: the message is for a person.

    Attributes:
        status: of HTTP, where it answered with another than 200.
    """

    status: int | None = None


class Found:
    """What has come of an answer.

    Attributes:
        begun: whether anything has.
        ended: whether it said why it ends.
        stopped: by itself.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[int, str]] = []
        self.thought = self.text = ""
        self.begun = self.ended = self.stopped = False
        self._last: Json = {}

    def add(self, message: Json | None, now_ns: int, told: Callable[..., str]) -> bool:
        """Take a message; whether it was the last one.

        Args:
            message: None where it says no more than that all is over.
            told: what is wrong, in words for a person.

        Raises:
            EndpointError: it says that there is no answer, or contradicts those before.
        """
        if message is None:
            if not self.ended:
                raise EndpointError(told("says that all is over in the middle of an answer"))
            return True
        self.begun = True
        if error := _error(message):
            raise EndpointError(told("answers with an error", error))
        for key in ("usage", "timings", "eval_count"):
            if message.get(key):
                self._last |= message
        self._add(_piece(message), now_ns, told)
        return message.get("done") is True

    def _add(self, piece: "_Piece", now_ns: int, told: Callable[..., str]) -> None:
        if piece.ends in GIVEN_UP:
            raise EndpointError(told("gives its answer up", piece.ends))
        if piece.thought or piece.text:
            if self.ended:
                raise EndpointError(told("goes on behind the end of its answer"))
            self.pieces.append((now_ns, piece.thought + piece.text))
            self.thought += piece.thought
            self.text += piece.text
        if piece.ends:
            stopped = piece.ends == "stop"
            if self.ended and stopped != self.stopped:
                raise EndpointError(told("ends its answer twice, each time for another reason"))
            self.ended, self.stopped = True, stopped

    def served(self) -> Served:
        """What it says of itself, as far as that can be so."""
        usage, timings = _part(self._last, "usage"), _part(self._last, "timings")
        details, ollama = _part(usage, "prompt_tokens_details"), self._last
        cached, computed = _count(timings, "cache_n"), _count(timings, "prompt_n")
        prompt = _count(usage, "prompt_tokens") or _count(ollama, "prompt_eval_count")
        if not prompt and cached is not None and computed is not None:
            prompt = cached + computed
        pp = _number(timings.get("prompt_per_second")) or _rate(ollama, "prompt_eval")
        tg = _number(timings.get("predicted_per_second")) or _rate(ollama, "eval")
        return {
            "prompt_tokens": prompt,
            "cached_tokens": _count(details, "cached_tokens") if cached is None else cached,
            "output_tokens": _count(usage, "completion_tokens") or _count(ollama, "eval_count"),
            "pp_tps": pp,
            "tg_tps": tg,
            "pieces": len(self.pieces),
            "connect_s": 0.0,
        }


class _Piece(NamedTuple):
    """What a message brings.

    `ends` says why the answer ends with it; it is empty where more comes.
    """

    thought: str
    text: str
    ends: str


def _piece(message: Json) -> _Piece:
    if "done" in message:  # Ollama's
        turn, done = _part(message, "message"), message["done"] is True
        text = _text(message.get("response")) or _text(turn.get("content"))
        ends = (_text(message.get("done_reason")) or "length") if done else ""
        thought = _text(message.get("thinking")) or _text(turn.get("thinking"))
        return _Piece(thought, text, CALLS if _called(turn) else ends)
    choices = message.get("choices")
    choice = _first(choices) if isinstance(choices, list) else {}
    delta = _part(choice, "delta") or _part(choice, "message")  # of one who sends all at once
    said = (choice.get("text"), delta.get("content"))
    ends = REFUSED if delta.get("refusal") else _text(choice.get("finish_reason"))
    if any(not isinstance(one, str | None) for one in said):
        ends = NO_TEXT
    thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
    return _Piece(thought, _text(said[0]) or _text(said[1]), CALLS if _called(delta) else ends)


def _first(choices: list[object]) -> Json:
    """The one that was asked for, of several."""
    found = (one for one in choices if isinstance(one, dict))
    return next((one for one in found if not one.get("index")), {})


def _error(message: Json) -> str | None:
    """What is wrong, where a message says that something is."""
    error = message.get("error")
    if message.get("object") == "error":  # as vLLM had it
        error = error or message.get("message") or "error"
    return json.dumps(error, ensure_ascii=False) if error else None


def _called(message: Json) -> bool:
    """Whether a tool is called, however the end is named."""
    return bool(message.get("tool_calls") or message.get("function_call"))


def _text(value: object) -> str:
    """Without halves of characters, which JSON can hold and nothing else."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _part(of: Json, key: str) -> Json:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: object, most: float = MOST) -> float | None:
    """A number above 0 that can be one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 < value < most and math.isfinite(value) else None


def _count(of: Json, key: str) -> int | None:
    value = of.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < MOST else None


def _rate(of: Json, what: str) -> float | None:
    """Ollama's: tokens, and nanoseconds."""
    count = _count(of, f"{what}_count")
    duration_ns = _number(of.get(f"{what}_duration"), MOST * 1e9)
    return _number(count / duration_ns * 1e9) if count and duration_ns else None
