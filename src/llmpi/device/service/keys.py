"""API keys: a line each, `KEY` or `KEY N`, by which at most N requests are asked a minute.

The first has no bound: the canary asks by it.
"""

import hmac
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from llmpi.device.service.refusals import RefusedError

SHORTEST = 16
MOST, MOST_A_MINUTE = 256, 100_000
LINE = re.compile(rf"([!-~]{{{SHORTEST},}})(?:[ \t]+([0-9]{{1,9}}))?")
FORM = (
    f"a key is one line of at least {SHORTEST} letters, digits or signs; behind each but the first "
    f"may stand how many requests a minute it may ask, from 1 to {MOST_A_MINUTE}; no key stands "
    f"there twice, and there are at most {MOST}"
)


class Given(NamedTuple):
    """A line."""

    key: str
    a_minute: int | None
    """None without a bound."""


def parse(text: str) -> list[Given]:
    """
    Raises:
        ValueError: it is no file of keys; the message is `FORM`, and holds none.
    """
    lines = map(str.strip, text.removeprefix("\ufeff").splitlines())  # some editors begin so
    found = [LINE.fullmatch(line) for line in lines if line]
    given = [Given(m[1], int(m[2]) if m[2] else None) for m in found if m]
    sound = all(one.a_minute is None or 1 <= one.a_minute <= MOST_A_MINUTE for one in given)
    several = len({one.key for one in given}) == len(given) == len(found)
    if not (sound and several and 0 < len(given) <= MOST and given[0].a_minute is None):
        raise ValueError(FORM)
    return given


def as_text(given: Sequence[Given]) -> str:
    """For `parse`."""
    return "\n".join(" ".join(str(part) for part in one if part is not None) for one in given)


class Key:
    """Of a client: a bucket of as many requests as it has a minute, which fills again evenly."""

    def __init__(self, a_minute: int | None, now: Callable[[], float] = time.monotonic) -> None:
        self._a_minute, self._now = a_minute, now
        self._left, self._at = float(a_minute or 0), now()

    def take(self) -> None:
        """Ask once.

        Raises:
            RefusedError: it may not yet.
        """
        if self._a_minute is None:
            return
        now, a_second = self._now(), self._a_minute / 60
        self._left = min(self._a_minute, self._left + (now - self._at) * a_second)
        self._at = now
        if self._left < 1:
            wait = str(max(1, math.ceil((1 - self._left) / a_second)))
            words = f"this key may ask {self._a_minute} times a minute; try again in {wait} s"
            raise RefusedError(429, "rate_limit_exceeded", words, ("retry-after", wait))
        self._left -= 1


class Keys:
    """
    Args:
        given: without any, everybody is let in.
    """

    def __init__(self, given: Sequence[Given] = ()) -> None:
        self._keys = [(b"Bearer " + key.encode(), Key(rate)) for key, rate in given]
        self._anybody = None if given else Key(None)

    def brought(self, headers: Mapping[bytes, bytes]) -> Key:
        """
        Raises:
            RefusedError: none of the keys.
        """
        found, sent = self._anybody, headers.get(b"authorization", b"")
        for wanted, key in self._keys:
            # All of them, each as long for a key that is nearly right as for any other.
            if hmac.compare_digest(sent, wanted):
                found = key
        if found is None:
            words = "the API key is missing or wrong"
            raise RefusedError(401, "invalid_api_key", words, ("www-authenticate", "Bearer"))
        return found
