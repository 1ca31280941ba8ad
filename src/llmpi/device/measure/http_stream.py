"""Ask an endpoint to go on with a text, or to answer, and note when each piece of it comes.

Nothing that it says is trusted: an answer has so many bytes and so many seconds, what should be a
number is one, and its words are shown as `llmpi.engine.shown` has them. A redirect is not followed,
no proxy is asked, and the key goes nowhere but into the header of the request.
"""

import contextlib
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

from llmpi.device.measure.http_answer import EndpointError, Found, Json
from llmpi.device.measure.http_events import LINE_BYTES, Messages
from llmpi.device.measure.http_key import Key, key_in
from llmpi.device.records import EndpointRequest
from llmpi.engine.records import Message, Served
from llmpi.engine.shown import shown

BLOCK_BYTES = 1 << 16
TOKEN_BYTES = 1 << 13
"""At most what a token may take in all, with what is around it."""
REASON_BYTES = 2000
"""Of what it says where it refuses; so many times as much is looked through for the key:"""
LOOKED_THROUGH = 4
CONNECT_S = 10.0
GOES_ON = {"ignore_eos": True, "cache_prompt": False, "min_tokens": None}
"""Beyond OpenAI's: not to end early (llama-server, vLLM and llama-cpp-python) and not to take the
prompt out of a cache (llama-server)."""
OLLAMA_ENDS = {"shift": False}
"""To end where its context does, and not to forget half of that and go on (api/types.go)."""
PATHS = {
    "completions": "/completions",
    "chat": "/chat/completions",
    "ollama": "/api/generate",
}
CHAT_PATHS = {**PATHS, "completions": PATHS["chat"], "ollama": "/api/chat"}
NO_SIZE = (ValueError, OverflowError)
"""What http.client makes of a chunk that is said to have such a size."""
KEY_REFUSED = (401, 403, 407)
REQUEST_REFUSED = (400, 422)
NOT_THERE = (404, 405, 429, 502, 503, 504)
"""By its own account, or by who stands in front of it."""
LOADS, LOADS_S = "loading model", 5
"""As llama-server says with a 503 until its model is there, and when to ask again."""


class RefusedError(EndpointError):
    """It does not take a request as it is."""


class UnreachableError(EndpointError):
    """There is nobody, or nobody who lets one in: no result, but something to mend."""


class BusyError(UnreachableError):
    """It is to be asked again after so many seconds."""

    def __init__(self, message: str, again_s: int) -> None:
        super().__init__(message)
        self.again_s = again_s


@dataclass(frozen=True)
class Answer:
    """An answer and its times, ns of the monotonic clock."""

    start_ns: int
    """Before the connection."""
    pieces: list[tuple[int, str]]
    """When each piece of text arrived; those that arrived together have one time."""
    thought: str | None
    """That comes before the answer, where the endpoint tells them apart."""
    text: str
    """Behind it."""
    stopped: bool
    """By itself, not at the bound on its tokens."""
    served: Served
    server: str | None


class Client:
    """One endpoint, asked again and again, each time over a new connection.

    Args:
        asked: who it is; the key is read from this process's environment.
        plain: whether it is asked for nothing beyond its API.

    Raises:
        UnreachableError: the environment has no such key.
    """

    def __init__(self, asked: EndpointRequest, *, plain: bool = False) -> None:
        self._asked, self._key = asked, _key(asked)
        self.plain = plain
        self.on_device = False
        """Whether the last answer came from this machine."""

    def try_out(self, ask: Callable[[], object]) -> None:
        """Find out whether it takes what is beyond its API, and ask all that follows accordingly.

        One refusal does not say what it is of, and may be of the moment: what is beyond the API is
        refused where the same request is taken without it, and refused with it once more.

        Args:
            ask: sends a request on which nothing hangs.

        Raises:
            EndpointError: as of `ask`; it is refused without that, too.
        """
        if self._takes(ask):
            return
        ask()
        self._takes(ask)

    def _takes(self, ask: Callable[[], object]) -> bool:
        self.plain = False
        try:
            ask()
        except RefusedError:
            self.plain = True
        return not self.plain

    def complete(self, prompt: str, tokens: int, seconds: float) -> Answer:
        """Have it go on with a text, greedily.

        Args:
            tokens: to generate, at most.
            seconds: that all of it may take.

        Raises:
            UnreachableError, EndpointError: nobody there; no answer, or one that cannot be used.
        """
        asked = self._to_go_on(prompt, tokens)
        answer = self._answer(PATHS[self._asked["api"]], asked, tokens, seconds)
        if not answer.pieces:
            raise EndpointError(self._told("answers with no text"))
        return answer

    def chat(
        self, messages: Sequence[Message], tokens: int, seconds: float, *, thinks: bool
    ) -> Answer:
        """Have it answer, greedily, in its own chat template.

        Args:
            tokens, seconds: as of `complete`.
            thinks: whether it is to think first, where it can be told.

        Raises:
            UnreachableError, EndpointError: as `complete`; or its key is in the answer.
        """
        asked = self._to_answer(messages, tokens, thinks)
        answer = self._answer(CHAT_PATHS[self._asked["api"]], asked, tokens, seconds)
        if self._key and self._key.is_whole_in(f"{answer.thought} {answer.text}"):
            raise EndpointError(self._told("answers with its key"))
        return answer

    def _answer(self, path: str, asked: Json, tokens: int, seconds: float) -> Answer:
        body = json.dumps(asked).encode()
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, */*"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key.value}"
        start_ns = time.monotonic_ns()
        end_ns = start_ns + round(seconds * 1e9)
        with self._connected(seconds) as (connection, base):
            connected_ns = time.monotonic_ns()
            try:
                here, there = connection.sock.getsockname(), connection.sock.getpeername()
                self.on_device = here[0] == there[0]
                connection.request("POST", base + path, body, headers)
                response = connection.getresponse()
                assert isinstance(response, _Timed)
                try:
                    self._check(response)
                except EndpointError as error:
                    error.status = response.status
                    raise
                budget = LINE_BYTES + tokens * TOKEN_BYTES
                return self._read(response, start_ns, connected_ns, budget)
            except (EndpointError, OSError, HTTPException, *NO_SIZE) as error:
                if time.monotonic_ns() > end_ns:
                    why = f"does not come to an end in {seconds:.3g} s"
                    raise EndpointError(self._told(why)) from None
                if isinstance(error, EndpointError):
                    raise
                raise EndpointError(self._told("broke off", repr(error))) from None

    @contextlib.contextmanager
    def _connected(self, seconds: float) -> Iterator[tuple[HTTPConnection, str]]:
        """A connection that ends when its time is over, and the path that all others are below."""
        with contextlib.ExitStack() as ends:
            try:
                url = urlsplit(self._asked["url"])
                host, tls = url.hostname or "", url.scheme == "https"
                kind = HTTPSConnection if tls else HTTPConnection
                opened = kind(host, url.port or kind.default_port)
                opened.response_class = _Timed
            except (ValueError, HTTPException) as error:
                raise self._unreachable(f"is no address: {error}") from None
            try:
                patience_s = min(CONNECT_S, seconds)
                connected = socket.create_connection((host, opened.port), patience_s)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ends.enter_context(_ending(connected, seconds))
                ends.callback(opened.close)
                opened.sock = connected
                if tls:
                    context = ssl.create_default_context()
                    context.set_alpn_protocols(["http/1.1"])
                    opened.sock = context.wrap_socket(connected, server_hostname=host)
                opened.sock.settimeout(seconds)
            except (OSError, ValueError) as error:  # of a name that is none, too
                raise self._unreachable("cannot be reached", str(error)) from None
            yield opened, url.path.rstrip("/")

    def _to_go_on(self, prompt: str, tokens: int) -> Json:
        if self._asked["api"] == "ollama":
            return {**self._ollama(tokens), "prompt": prompt, "raw": True}
        asked = self._openai(tokens)
        if not self.plain:
            asked |= {**GOES_ON, "min_tokens": tokens}
        if self._asked["api"] == "chat":
            return {**asked, "messages": [{"role": "user", "content": prompt}]}
        return {**asked, "prompt": prompt}

    def _to_answer(self, messages: Sequence[Message], tokens: int, thinks: bool) -> Json:
        ollama = self._asked["api"] == "ollama"
        asked = self._ollama(tokens) if ollama else self._openai(tokens)
        asked["messages"] = [*messages]
        if self.plain:
            return asked
        how = {"think": thinks} if ollama else {"chat_template_kwargs": {"enable_thinking": thinks}}
        return {**asked, **how}

    def _ollama(self, tokens: int) -> Json:
        options = {"num_predict": tokens, "temperature": 0, "top_k": 1}
        asked = {"model": self._asked["model"], "options": options}
        return asked if self.plain else {**asked, **OLLAMA_ENDS}

    def _openai(self, tokens: int) -> Json:
        return {
            "model": self._asked["model"],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _check(self, response: HTTPResponse) -> None:
        status = response.status
        if status == 200:
            packed = response.getheader("Content-Encoding", "identity")
            if packed != "identity":
                raise EndpointError(self._told("answers packed, which nobody asked for", packed))
            return
        if 300 <= status < 400:
            raise self._unreachable(f"answers {status}: name the address it moved to, as the url")
        said = response.read(LOOKED_THROUGH * REASON_BYTES).decode("utf-8", "replace")
        what = f"answers {status}"
        if status in KEY_REFUSED:
            wanted = "is its key right?" if self._key else "name the key's variable: key_variable"
            raise self._unreachable(f"{what} ({wanted})", said)
        if status in NOT_THERE:
            self._check_busy(response, what, said)
            raise self._unreachable(what, said)
        told = self._told(what, said)
        raise RefusedError(told) if status in REQUEST_REFUSED else EndpointError(told)

    def _check_busy(self, response: HTTPResponse, what: str, said: str) -> None:
        after = response.getheader("Retry-After", "")
        if response.status == 503 and not after and LOADS in said.lower():
            after = str(LOADS_S)
        if after.isascii() and after.isdecimal() and len(after) < 6:
            raise BusyError(str(self._unreachable(what, said)), int(after))

    def _read(self, response: "_Timed", start_ns: int, connected_ns: int, budget: int) -> Answer:
        found = self._found(response, budget)
        if not found.begun:
            kind = response.getheader("Content-Type", "")
            raise EndpointError(self._told("answers with nothing of its API", kind))
        if not found.ended:
            raise EndpointError(self._told("breaks off in the middle of an answer"))
        return Answer(
            start_ns=start_ns,
            pieces=found.pieces,
            thought=found.thought or None,
            text=found.text,
            stopped=found.stopped,
            served={**found.served(), "connect_s": (connected_ns - start_ns) / 1e9},
            server=self._server(response),
        )

    def _found(self, response: "_Timed", budget: int) -> Found:
        """What has come when it says that it is done, or no more comes."""
        found, messages = Found(), Messages(self._told)
        for block in self._blocks(response, budget):
            now_ns = response.arrived.at_ns
            if any(found.add(one, now_ns, self._told) for one in messages.of(block)):
                return found
        for one in messages.at_end():
            found.add(one, response.arrived.at_ns, self._told)
        return found

    def _blocks(self, response: HTTPResponse, budget: int) -> Iterator[bytes]:
        """What comes, as it comes."""
        while block := response.read1(BLOCK_BYTES):
            budget -= len(block)
            left = response.chunk_left if response.chunked else None
            if budget < 0 or not 0 <= (left or 0) <= budget:
                raise EndpointError(self._told("answers with more bytes than were asked for"))
            yield block

    def _server(self, response: HTTPResponse) -> str | None:
        name = response.getheader("Server")
        if not name or (self._key and self._key.is_in(name)):
            return None
        return shown(name)[:100]

    def _told(self, what: str, said: str = "") -> str:
        """What is wrong. Results and pages have it, and how it is reached is not their business.

        Args:
            said: its own words; they are left out where the key is among them.
        """
        if self._key and self._key.is_in(said):
            said = "(what it says is not shown: its key is in it)"
        words = " ".join(said.split())[:REASON_BYTES]
        return shown(f"the endpoint {what}{': ' if words else ''}{words}")

    def _unreachable(self, what: str, said: str = "") -> UnreachableError:
        """The same for who is to mend it, with the address in front."""
        return UnreachableError(f"{self._asked['url']}: {self._told(what, said)}")


@contextlib.contextmanager
def _ending(connected: socket.socket, seconds: float) -> Iterator[None]:
    """The connection ends after so many seconds, however slowly and in how small pieces something
    comes: a timeout of sockets begins anew with every byte."""
    other = connected.dup()  # TLS takes the first one over

    def end() -> None:
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        other.close()


class _Arrived(io.RawIOBase):
    """What comes through a connection, and when it last did: to take it apart takes time, too."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self.at_ns = raw, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self.at_ns = time.monotonic_ns()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Timed(HTTPResponse):
    """A response that knows when it arrived."""

    def __init__(self, connected: socket.socket, *how: Any, **more: Any) -> None:
        super().__init__(connected, *how, **more)
        self.arrived = _Arrived(self.fp.detach())
        self.fp = io.BufferedReader(self.arrived)


def _key(asked: EndpointRequest) -> Key | None:
    name = asked["key_variable"]
    if name is None:
        return None
    try:
        key = key_in(name)
    except ValueError as error:
        raise UnreachableError(f"{asked['url']}: {error}") from None
    if key is None:
        raise UnreachableError(
            f"{asked['url']}: its key is to be in the environment variable {name}, which is not "
            "set where the client runs: here for a local device, on the board for one behind SSH"
        )
    if key.is_whole_in(asked["url"]):
        raise UnreachableError(
            f"the key in the environment variable {name} is in the endpoint's url, too, which "
            "results and logs tell: leave it out there"
        )
    return key
