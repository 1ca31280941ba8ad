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
GIVEN_UP = ("abort", "error", "content_filter", "function_call", CALLS, REFUSED)
"""As servers say that an answer has no end (vLLM, SGLang; OpenRouter), or that something else
stands in its place, which nobody asked for: no text would pass for a model that abstains."""


class EndpointError(Exception):
    """What an endpoint answered is of no use: the message is for a person.

    Attributes:
        status: of HTTP, where it answered with another than 200.
    """

    status: int | None = None


class Found:
    """What has come of an answer."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, str]] = []
        self.thought = self.text = ""
        self.ended = self.stopped = False
        self._last: Json = {}

    def add(self, line: bytes, now_ns: int, told: Callable[..., str]) -> bool:
        """Take a line; whether it was the last one."""
        text = line.strip()
        if text.startswith(b"data:"):
            text = text[5:].strip()
        elif not text.startswith(b"{"):
            return False  # a comment, an event's name, an empty line
        if text == b"[DONE]":
            return self.ended
        try:
            message = json.loads(text.decode("utf-8", "replace"))  # half a character may be its end
            error = isinstance(message, dict) and message.get("error")
            why = json.dumps(error, ensure_ascii=False) if error else None
        except (ValueError, RecursionError):
            raise EndpointError(told("answers with what is no JSON")) from None
        if not isinstance(message, dict):
            raise EndpointError(told("answers with JSON that is no object"))
        if why:
            raise EndpointError(told("answers with an error", why))
        for key in ("usage", "timings", "eval_count"):
            if message.get(key):
                self._last |= message
        piece = _piece(message)
        if piece.thought or piece.text:
            self.pieces.append((now_ns, piece.thought + piece.text))
            self.thought += piece.thought
            self.text += piece.text
        if piece.ends in GIVEN_UP:
            raise EndpointError(told("gives its answer up", piece.ends))
        if piece.ends:
            self.ended, self.stopped = True, piece.ends == "stop"
        return message.get("done") is True

    def served(self) -> Served:
        """What it says of itself, as far as that can be so."""
        usage, timings = _part(self._last, "usage"), _part(self._last, "timings")
        details, ollama = _part(usage, "prompt_tokens_details"), self._last
        cached = _count(timings, "cache_n")
        pp = _number(timings.get("prompt_per_second")) or _rate(ollama, "prompt_eval")
        tg = _number(timings.get("predicted_per_second")) or _rate(ollama, "eval")
        return {
            "prompt_tokens": _count(usage, "prompt_tokens") or _count(ollama, "prompt_eval_count"),
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
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if not isinstance(choice, dict):
        return _Piece("", "", "")
    delta = _part(choice, "delta") or _part(choice, "message")  # of one who sends all at once
    text = _text(choice.get("text")) or _text(delta.get("content"))
    ends = REFUSED if delta.get("refusal") else _text(choice.get("finish_reason"))
    return _Piece(
        _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")),
        text,
        CALLS if _called(delta) else ends,
    )


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
