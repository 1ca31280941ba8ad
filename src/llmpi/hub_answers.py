"""The HTTP client of all that asks a hub: what a server says is checked before it is acted on.

huggingface_hub takes names of files in its cache from headers (ETag, X-Repo-Commit) as they come,
follows a listing as long as it goes on, and waits for an answer without end. A mirror, or whoever
stands between, may say anything there. Importing this module gives huggingface_hub this client,
with which `datasets` asks, too.
"""

import re
import time
from collections.abc import Iterator

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory

from llmpi.engine.shown import without_logins
from llmpi.errors import LlmpiError

ANSWER_S = 60.0
"""Longest silence of a server, seconds, where the library states no time of its own."""
SLOW_S, SLOW_BYTES = 60.0, 1000
"""A body that brings less than so many bytes in so many seconds does not come."""
API_BYTES = 64 * 1024**2
"""Of one page of a listing, and of any other answer that is no file."""
API_ANSWERS = 1000
"""Of one process: a listing that goes on after so many pages has no end."""

NAME = re.compile(r"[A-Za-z0-9][\w.+=-]{0,127}", re.ASCII)
"""What may become the name of a file in the cache."""
FORMS = {
    "ETag": NAME,
    "X-Linked-ETag": NAME,
    "X-Repo-Commit": re.compile(r"[0-9a-f]{40}"),
    "X-Xet-Hash": re.compile(r"[0-9a-f]{64}"),
    "X-Linked-Size": re.compile(r"\d{1,15}"),
    "Content-Length": re.compile(r"\d{1,15}"),
}
"""Of the headers that huggingface_hub acts on."""


class HubAnswerError(LlmpiError):
    """A server said what no hub says; nothing of it was kept."""


def checked_client() -> httpx2.Client:
    """huggingface_hub's own client, with every answer of a server checked."""
    client = default_client_factory()
    answers = _Answers()
    client.event_hooks = {
        "request": [*client.event_hooks["request"], _ask],
        "response": [answers.check],
    }
    return client


def check_name(what: str, name: str | None, server: str) -> str:
    """A name that a server gives, if it may become the name of a file.

    Raises:
        HubAnswerError: it is none, or may not.
    """
    if not name or not NAME.fullmatch(name):
        raise HubAnswerError(f"{server} says {what} {name!r:.100}, which can name no file")
    return name


def _ask(request: httpx2.Request) -> None:
    limits = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        key: limits.get(key) or ANSWER_S for key in ("connect", "read", "write", "pool")
    }
    # A few bytes could become gigabytes where they are unpacked.
    request.headers["Accept-Encoding"] = "identity"


class _Answers:
    """Checks each answer; counts those that are no files."""

    def __init__(self) -> None:
        self._count = 0

    def check(self, response: httpx2.Response) -> None:
        """
        Raises:
            HubAnswerError: a header is of no form it can have, or there is no end of answers.
        """
        server = f"the server at {response.url.host}"
        for header, form in FORMS.items():
            said = response.headers.get(header)
            if header.endswith("ETag") and response.request.method != "HEAD":
                continue  # it names nothing
            if said is not None and not form.fullmatch(said.removeprefix("W/").strip('"')):
                raise HubAnswerError(
                    f"{server} answers {header}: {said!r:.100}, which is none. Nothing was kept. "
                    f"Is {without_logins(constants.ENDPOINT)} a hub, or a mirror of one?"
                )
        of_api = "/api/" in response.url.path.partition("/resolve/")[0]
        is_file = not of_api and response.status_code < 300
        if of_api:
            self._count += 1
            if self._count > API_ANSWERS:
                raise HubAnswerError(f"{server} lists without end: {API_ANSWERS} answers were read")
        if not is_file and response.headers.get("Content-Encoding", "identity") != "identity":
            raise HubAnswerError(f"{server} packs its answers, although it was asked not to")
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Body(response.stream, server, None if is_file else API_BYTES)


class _Body(httpx2.SyncByteStream):
    """What comes, as long as it comes: neither a flood nor a trickle."""

    def __init__(self, body: httpx2.SyncByteStream, server: str, most: int | None) -> None:
        self._body = body
        self._server = server
        self._most = most

    def __iter__(self) -> Iterator[bytes]:
        whole = since = 0
        begun = time.monotonic()
        for part in self._body:
            whole += len(part)
            since += len(part)
            if self._most and whole > self._most:
                raise HubAnswerError(f"{self._server} answers without end: {whole} bytes were read")
            if time.monotonic() - begun > SLOW_S:
                if since < SLOW_BYTES:
                    raise HubAnswerError(
                        f"{self._server} sends {since} bytes in {SLOW_S:.0f} s: given up. Run "
                        "again: a download goes on where it stopped."
                    )
                begun, since = time.monotonic(), 0
            yield part

    def close(self) -> None:
        self._body.close()


set_client_factory(checked_client)
