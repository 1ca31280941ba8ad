"""What a client is told whose request will not be served."""

from typing import Any


class RefusedError(Exception):
    """A request that will not be served: HTTP status, OpenAI's error code, words for a person, and
    headers."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


def wrong(message: str) -> RefusedError:
    """The client is to blame."""
    return RefusedError(400, "invalid_request", message)


def must_be(kind: type, name: str, value: Any) -> Any:  # what a client sent
    names = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    if not isinstance(value, kind):
        raise wrong(f"{name}: must be {names[kind]}")
    return value


def printable(name: str) -> str:
    """A name that a client gave, as a log or a terminal may have it."""
    return "".join(c if c.isprintable() else "?" for c in name)[:50]
