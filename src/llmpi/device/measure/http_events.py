"""The messages of an answer, taken out of its bytes as they come.

They are events, as the WHATWG has them
(https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation), or
JSON: a message a line, as Ollama's, or all of it at once, as of a server that knows no streams. How
the bytes begin tells which: what a server says of them (`Content-Type`) is often wrong.
"""

import json
from collections.abc import Callable, Iterator

from llmpi.device.measure.http_answer import EndpointError, Json

LINE_BYTES = 1 << 20
"""At most; llama-server's last one holds all its settings."""
BOM, DONE, ERROR = b"\xef\xbb\xbf", b"[DONE]", b"error"


class Messages:
    """
    Args:
        told: what is wrong, in words for a person.
    """

    def __init__(self, told: Callable[..., str]) -> None:
        self._told, self._lines = told, _Lines()
        self._is_json: bool | None = None
        self._data, self._event = list[bytes](), b""
        self._body = list[bytes]()

    def of(self, block: bytes) -> Iterator[Json | None]:
        """The messages that end with these bytes; None for the one that says that it was the last.

        Raises:
            EndpointError: that is none, or too long to be one.
        """
        for line in self._lines.of(block):
            yield from self._of_line(line)
        if self._lines.begun_bytes > LINE_BYTES:
            raise EndpointError(self._told("answers with more bytes than were asked for"))

    def at_end(self) -> Iterator[Json | None]:
        """What there is when no more comes: nothing of an event, which an empty line ends.

        Raises:
            EndpointError: as of `of`.
        """
        rest = self._lines.rest()
        if self._is_json is None:
            yield from self._of_line(rest)
        elif self._is_json:
            yield from self._of_json(rest)
        if self._body:
            yield self._message(b"\n".join(self._body))

    def _of_line(self, line: bytes) -> Iterator[Json | None]:
        if self._is_json is None and line.strip():
            self._is_json = line.lstrip().startswith(b"{")
        yield from self._of_json(line) if self._is_json else self._of_event(line)

    def _of_json(self, line: bytes) -> Iterator[Json]:
        """What is no message by itself begins one that takes all the rest."""
        if self._body:
            self._body.append(line)
        elif line.strip():
            try:
                message = _parsed(line)
            except ValueError:
                self._body.append(line)
            else:
                yield self._object(message)

    def _of_event(self, line: bytes) -> Iterator[Json | None]:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            yield from self._event_ends()
        elif name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == ERROR:  # in place of `data`: ik_llama.cpp's, and llama-server's of old
            self._event = ERROR
            self._data.append(value)

    def _event_ends(self) -> Iterator[Json | None]:
        data, event = b"\n".join(self._data), self._event
        self._data, self._event = [], b""
        if data.strip() == DONE:
            yield None
        elif event == ERROR:
            yield _error(data)
        elif data:
            yield self._message(data)

    def _message(self, data: bytes) -> Json:
        try:
            return self._object(_parsed(data))
        except ValueError:
            raise EndpointError(self._told("answers with what is no JSON")) from None

    def _object(self, message: object) -> Json:
        if not isinstance(message, dict):
            raise EndpointError(self._told("answers with JSON that is no object"))
        return message


class _Lines:
    """Lines as CR, LF or both end them, wherever a block of bytes ends."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._is_first, self._ended_by_cr = True, False

    @property
    def begun_bytes(self) -> int:
        """Of the line that has no end yet."""
        return len(self._begun)

    def of(self, block: bytes) -> list[bytes]:
        """Those that end with these bytes."""
        if self._ended_by_cr:
            block = block.removeprefix(b"\n")
        self._ended_by_cr = block.endswith(b"\r")
        lines = list[bytes]()
        for part in block.splitlines(keepends=True):
            text = part.rstrip(b"\r\n")
            self._begun += text
            if len(text) < len(part):
                lines.append(self.rest())
        return lines

    def rest(self) -> bytes:
        """What has no end, as a line."""
        line = bytes(self._begun)
        self._begun.clear()
        if self._is_first:
            self._is_first = False
            return line.removeprefix(BOM)
        return line


def _error(data: bytes) -> Json:
    """What an event of an error says, as other servers say it in a message."""
    try:
        said = _parsed(data)
    except ValueError:
        said = data.decode("utf-8", "replace")
    if isinstance(said, dict) and said.get("error"):
        return said
    return {"error": said or "it does not say which"}


def _parsed(text: bytes) -> object:
    """
    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text.decode("utf-8", "replace"))  # half a character may be its end
    except RecursionError:
        raise ValueError from None
