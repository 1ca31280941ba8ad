"""The key of an endpoint: it goes into the header of a request and into nothing that is told."""

import html
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import unquote

RUN = 8
"""So many letters and digits of a key in a row are the key."""
ESCAPED = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([\"\\/]))")
"""As JSON writes a character."""


class Key:
    """
    Args:
        value: printable ASCII.
    """

    def __init__(self, value: str) -> None:
        self.value = value
        raw = value.encode()
        encoded = [b64encode(raw[i:]).decode() for i in range(3)]  # wherever in it the key begins
        self._whole = [form for form in map(_plain, (value, raw.hex())) if len(form) >= RUN]
        plain = {_plain(form) for form in (value, raw.hex(), *encoded)} - {""}
        self._runs = {form[i : i + RUN] for form in plain for i in range(len(form) - RUN + 1)}
        self._runs |= {form for form in plain if len(form) < RUN}

    def is_in(self, text: str) -> bool:
        """Whether a text holds it or a part of it, as it is or as pages, addresses, headers and
        JSON write it, whatever stands between its characters."""
        return any(
            self.value in form or any(run in _plain(form) for run in self._runs)
            for form in _forms(text)
        )

    def is_whole_in(self, text: str) -> bool:
        """Whether a text that is an answer holds all of it. A part may be a word as any other: of
        `sk-no-key-required`, and all of a key that is shorter than `RUN`, such as `EMPTY`."""
        return any(whole in _plain(form) for form in _forms(text) for whole in self._whole)


def _forms(text: str) -> Iterator[str]:
    """As it is, and without the escapes of JSON, of addresses and of pages."""
    yield text
    yield ESCAPED.sub(lambda found: found[2] or chr(int(found[1], 16)), text)
    yield unquote(text)
    yield html.unescape(text)


def key_in(variable: str) -> Key | None:
    """The key in an environment variable; None where there is none.

    Raises:
        ValueError: no header can hold it.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"what {variable} holds cannot be a key")
    return Key(value)


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()
