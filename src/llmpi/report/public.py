"""What of a study whoever gets its page or memo may see: not how devices and files are reached."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit

PRIVATE = ("host", "port", "user", "identity_file", "known_hosts", "url", "password_file", "python")
"""Of a config: how its devices are reached, which is nobody else's business."""
PATHS = (
    "path",
    "store",
    "wheel",
    "server_wheel",
    "squad_file",
    "text_file",
    "prompts",
    "judgements",
    "include_path",
)
"""Of a config: files and folders, of which the last name is told."""

Told = TypeVar("Told")


def public(found: object) -> object:
    """A config, or a part of it."""
    if isinstance(found, list):
        return [public(one) for one in found]
    if not isinstance(found, Mapping):
        return found
    return {key: _public(key, value) for key, value in found.items() if key not in PRIVATE}


def _public(key: str, value: object) -> object:
    return Path(value).name if key in PATHS and isinstance(value, str) else public(value)


def without_places(found: Told, config: object) -> Told:
    """Records whose reasons, such as a meter's that failed, have no address and no folder of the
    config."""
    shown = dict(_places(config))
    if not shown:
        return found
    longest_first = sorted(shown, key=len, reverse=True)
    places = re.compile("|".join(map(re.escape, longest_first)))

    def told(value: object, *, is_reason: bool) -> object:
        if isinstance(value, str):
            return places.sub(lambda place: shown[place[0]], value) if is_reason else value
        if isinstance(value, Mapping):
            return {
                key: told(one, is_reason=is_reason or str(key).endswith("reason"))
                for key, one in value.items()
            }
        if isinstance(value, list):
            return [told(one, is_reason=is_reason) for one in value]
        return value

    return cast(Told, told(found, is_reason=False))


def _places(config: object) -> Iterator[tuple[str, str]]:
    """What can be told from a word in a reason, and what stands there instead."""
    if isinstance(config, list):
        for one in config:
            yield from _places(one)
    if not isinstance(config, Mapping):
        return
    for key, value in config.items():
        if not isinstance(value, str):
            yield from _places(value)
        elif key in PATHS and "/" in value and Path(value).name:
            yield value, Path(value).name
        elif key == "url":
            yield from ((place, "…") for place in (value, urlsplit(value).hostname) if place)
        elif key in PRIVATE and ("/" in value or (key == "host" and re.search("[.:]", value))):
            yield value, "…"
