"""Ask an endpoint to go on with a text, and note when each piece of the answer comes.

Nothing that it says is trusted: an answer has so many bytes and so many seconds, what should be a
number is one, and its words are shown as `llmpi.engine.shown` has them. A redirect is not followed,
no proxy is asked, and the key goes nowhere but into the header of the request.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from llmpi.device.records import EndpointRequest
from llmpi.engine.records import Served
from llmpi.engine.shown import shown

Json = dict[str, Any]  # a request as its API has it; what comes is anything until it is looked at

LINE_BYTES = 1 << 20
"""Of an answer, at most; llama-server's last one holds all its settings."""
TOKEN_BYTES = 1 << 13
"""At most what a token may take in all, with what is around it."""
REASON_BYTES = 2000
"""Of what it says where it refuses."""
CONNECT_S = 10.0
MOST = 1e9
"""No count and no rate of a sound endpoint is larger."""
GOES_ON = {"ignore_eos": True, "cache_prompt": False, "min_tokens": None}
"""Beyond OpenAI's: not to end early (llama-server, vLLM and llama-cpp-python) and not to take the
prompt out of a cache (llama-server). Who refuses them is asked again without."""
PATHS = {
    "completions": "/completions",
    "chat": "/chat/completions",
    "ollama": "/api/generate",
}


class EndpointError(Exception):
    """What an endpoint answered is of no use: the message is for a person."""


class UnreachableError(EndpointError):
    """There is nobody, or nobody who lets one in: no result, but something to mend."""


@dataclass(frozen=True)
class Answer:
    """An answer and its times, ns of the monotonic clock."""

    start_ns: int
    """Before the connection."""
    pieces: list[tuple[int, str]]
    """When each piece of text came."""
    served: Served
    server: str | None


class Client:
    """One endpoint, asked again and again, each time over a new connection.

    Args:
        asked: who it is; the key is read from this process's environment.

    Raises:
        UnreachableError: the environment has no such key.
    """

    def __init__(self, asked: EndpointRequest) -> None:
        self._asked, self._key = asked, _key(asked)
        self._plain = False
        self.on_device = False
        """Whether the last answer came from this machine."""

    def complete(self, prompt: str, tokens: int, seconds: float) -> Answer:
        """Have it go on with a text, greedily.

        Args:
            tokens: to generate, at most.
            seconds: that all of it may take.

        Raises:
            UnreachableError, EndpointError: nobody there; no answer, or one that cannot be used.
        """
        try:
            return self._complete(prompt, tokens, seconds)
        except _RefusedError as refused:
            if self._plain or self._asked["api"] == "ollama":
                raise EndpointError(str(refused)) from None
        self._plain = True
        try:
            return self._complete(prompt, tokens, seconds)
        except _RefusedError as refused:
            raise EndpointError(str(refused)) from None

    def _complete(self, prompt: str, tokens: int, seconds: float) -> Answer:
        body = json.dumps(self._request(prompt, tokens)).encode()
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, */*"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection, path = self._connection(seconds)
        start_ns = time.monotonic_ns()
        end_ns = start_ns + round(seconds * 1e9)
        try:
            try:
                connection.connect()
            except (OSError, UnicodeError) as error:
                raise UnreachableError(self._told(f"cannot be reached: {error}")) from None
            connected_ns = time.monotonic_ns()
            ends = connection.sock.getsockname(), connection.sock.getpeername()
            self.on_device = ends[0][0] == ends[1][0]
            connection.sock.settimeout(seconds)
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            self._check(response)
            budget = LINE_BYTES + tokens * TOKEN_BYTES
            return self._read(response, start_ns, connected_ns, end_ns, budget)
        except TimeoutError:
            raise EndpointError(self._told(f"says nothing for {seconds:.0f} s")) from None
        except (OSError, HTTPException) as error:
            raise EndpointError(self._told(f"broke off: {error!r}")) from None
        finally:
            connection.close()

    def _connection(self, seconds: float) -> tuple[HTTPConnection, str]:
        """A connection that is not open yet, and the path behind it."""
        try:
            url = urlsplit(self._asked["url"])
            kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
            opened = kind(url.hostname or "", url.port, timeout=min(CONNECT_S, seconds))
        except (ValueError, HTTPException) as error:
            raise UnreachableError(self._told(f"is no address: {error}")) from None
        return opened, url.path.rstrip("/") + PATHS[self._asked["api"]]

    def _request(self, prompt: str, tokens: int) -> Json:
        model = self._asked["model"]
        if self._asked["api"] == "ollama":
            options = {"num_predict": tokens, "temperature": 0, "top_k": 1}
            return {"model": model, "prompt": prompt, "raw": True, "options": options}
        asked: Json = {
            "model": model,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if not self._plain:
            asked |= {**GOES_ON, "min_tokens": tokens}
        if self._asked["api"] == "chat":
            return {**asked, "messages": [{"role": "user", "content": prompt}]}
        return {**asked, "prompt": prompt}

    def _check(self, response: HTTPResponse) -> None:
        if response.status == 200:
            return
        said = response.read(REASON_BYTES).decode("utf-8", "replace")
        told = self._told(f"answers {response.status}: {' '.join(said.split())}")
        if response.status in (401, 403):
            asked = "is its key right?" if self._key else "name the key's variable: key_variable"
            raise UnreachableError(f"{told}; {asked}")
        if response.status in (400, 422):
            raise _RefusedError(told)
        raise (UnreachableError if response.status in (404, 503) else EndpointError)(told)

    def _read(
        self, response: HTTPResponse, start_ns: int, connected_ns: int, end_ns: int, budget: int
    ) -> Answer:
        found = _Found()
        for line in self._lines(response, end_ns, budget):
            now = time.monotonic_ns()
            if found.add(line, now, self._told):
                break
        if not found.ended:
            raise EndpointError(self._told("breaks off in the middle of an answer"))
        if not found.pieces:
            raise EndpointError(self._told("answers with no text"))
        server = response.getheader("Server")
        return Answer(
            start_ns=start_ns,
            pieces=found.pieces,
            served={**found.served(), "connect_s": (connected_ns - start_ns) / 1e9},
            server=shown(server)[:100] if server else None,
        )

    def _lines(self, response: HTTPResponse, end_ns: int, budget: int) -> Iterator[bytes]:
        while line := response.readline(LINE_BYTES + 1):
            budget -= len(line)
            if len(line) > LINE_BYTES or budget < 0:
                raise EndpointError(self._told("answers with more bytes than were asked for"))
            if time.monotonic_ns() > end_ns:
                raise EndpointError(self._told("does not come to an end in the time there is"))
            yield line

    def _told(self, what: str) -> str:
        """What is wrong, with the address in front; never with the key."""
        text = f"{self._asked['url']}: {what}"
        return shown(text.replace(self._key, "(key)") if self._key else text)


class _RefusedError(Exception):
    """It does not take the request as it is."""


class _Found:
    """What has come of an answer."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, str]] = []
        self.ended = False
        self._last: Json = {}

    def add(self, line: bytes, now_ns: int, told: Callable[[str], str]) -> bool:
        """Take a line; whether it was the last one."""
        text = line.strip()
        if text.startswith(b"data:"):
            text = text[5:].strip()
        elif not text.startswith(b"{"):
            return False  # a comment, an event's name, an empty line
        if text == b"[DONE]":
            return self.ended
        try:
            message = json.loads(text)
            error = isinstance(message, dict) and message.get("error")
            why = json.dumps(error)[:REASON_BYTES] if error else None
        except (ValueError, RecursionError):
            raise EndpointError(told("answers with what is no JSON")) from None
        if not isinstance(message, dict):
            raise EndpointError(told("answers with JSON that is no object"))
        if why:
            raise EndpointError(told(f"answers with an error: {why}"))
        for key in ("usage", "timings", "eval_count"):
            if message.get(key):
                self._last |= message
        piece, ends = _piece(message)
        if piece:
            self.pieces.append((now_ns, piece))
        self.ended = self.ended or ends
        return message.get("done") is True

    def served(self) -> Served:
        """What it says of itself, as far as that can be so."""
        usage, timings = _part(self._last, "usage"), _part(self._last, "timings")
        details, ollama = _part(usage, "prompt_tokens_details"), self._last
        cached = _count(timings, "cache_n")
        pp = _number(timings, "prompt_per_second") or _rate(ollama, "prompt_eval")
        tg = _number(timings, "predicted_per_second") or _rate(ollama, "eval")
        return {
            "prompt_tokens": _count(usage, "prompt_tokens") or _count(ollama, "prompt_eval_count"),
            "cached_tokens": _count(details, "cached_tokens") if cached is None else cached,
            "output_tokens": _count(usage, "completion_tokens") or _count(ollama, "eval_count"),
            "pp_tps": pp,
            "tg_tps": tg,
            "pieces": len(self.pieces),
            "connect_s": 0.0,
        }


def _piece(message: Json) -> tuple[str, bool]:
    """The text of a message, and whether the answer ends with it."""
    if "response" in message:
        return _text(message["response"]), message.get("done") is True
    choices = message.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if not isinstance(choice, dict):
        return "", False
    delta = _part(choice, "delta")
    thought = _text(delta.get("reasoning_content"))
    text = _text(choice.get("text")) or thought + _text(delta.get("content"))
    return text, bool(choice.get("finish_reason"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _part(of: Json, key: str) -> Json:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def _number(of: Json, key: str) -> float | None:
    """A number above 0 that can be one."""
    value = of.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 < value < MOST and math.isfinite(value) else None


def _count(of: Json, key: str) -> int | None:
    value = of.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < MOST else None


def _rate(of: Json, what: str) -> float | None:
    """Ollama's: tokens, and nanoseconds."""
    count, duration_ns = _count(of, f"{what}_count"), of.get(f"{what}_duration")
    if not count or not isinstance(duration_ns, int) or not 0 < duration_ns < MOST * 1e9:
        return None
    return count / duration_ns * 1e9


def _key(asked: EndpointRequest) -> str | None:
    name = asked["key_variable"]
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UnreachableError(
            f"{asked['url']}: its key is to be in the environment variable {name}, which is not "
            "set where the client runs: here for a local device, on the board for one behind SSH"
        )
    if not key.isascii() or not key.isprintable():
        raise UnreachableError(f"{asked['url']}: what {name} holds cannot be a key")
    return key
