"""What others say, as it may be shown: a device, a hub, a judge, a config, a model's header.

A terminal obeys control characters: they move the cursor, change the title, hide what stands there;
some turn the direction of a text, so that it reads as another one. Whatever is printed, logged or
written for people passes here once, where it leaves llmpi. In place of such a character stands its
escape, which in a text of JSON means the same.
"""

import io
import logging
import re
from typing import TextIO

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but for tab and newline, separators of lines, turns of direction, halves of characters.
The marks that right-to-left texts are written with are none of them."""
LOGIN = re.compile(r"(?<=//)[^/@\s]+@")
"""User and password in an address."""


def visible(text: str) -> str:
    """The text with every character that a terminal would obey as `\\u001b`."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def without_logins(text: str) -> str:
    """The text with no user and no password in an address."""
    return LOGIN.sub("", text)


def shown(text: str) -> str:
    """The text as a terminal or a log may have it."""
    return visible(without_logins(text))


class ShownFormatter(logging.Formatter):
    """Of every record what may be shown, whoever logged it."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


class ShownStream(io.TextIOBase):
    """Writes to another stream what may be shown, in characters that it has."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(shown(text).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()
