"""Sound things spoiled by chance: texts, JSON, bytes."""

import copy
import json
import random
from typing import Any

TEXTS = (
    *("", " ", "\0", "\n", "\r\n", "\t", "\x1b]0;owned\x07", "\x9b2J", "\u202egpj", "\ud800"),
    *("\ufeff", "../" * 6 + "canary", "/etc/passwd", "..", ".", "~", "~root", "a/../../b", "a\\b"),
    *(
        "C:\\x",
        "-rf",
        "=1+1",
        "+1",
        "-1",
        "@x",
        "%s%n",
        "{0}",
        "{{7*7}}",
        "$(id)",
        "`id`",
        "' OR 1",
    ),
    *(
        "; rm -rf x",
        "<script>alert(1)</script>",
        "</script>",
        "null",
        "true",
        "NaN",
        "1e999",
        "010",
    ),
    *("1:30", "0x1F", "x" * 300, "x" * 70_000, "é" * 200, "東京", "💥", "a" * 40, "0" * 64, "main"),
    *(
        "K",
        "16G",
        "1.2.3",
        "https://me:secret@example.org/",
        "\u2028",
        "\x7f",
        "a.gguf",
        "x,y",
        '"',
    ),
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan"))


def text(draw: random.Random) -> str:
    found = draw.choice(TEXTS)
    return found + draw.choice(TEXTS) if draw.random() < 0.2 else found


def value(draw: random.Random, depth: int = 0) -> Any:
    """Any value of JSON, and NaN."""
    kind = draw.randrange(7 if depth < 3 else 5)
    if kind == 0:
        return draw.choice((None, True, False))
    if kind == 1:
        return draw.choice(NUMBERS)
    if kind < 5:
        return text(draw)
    some = range(draw.randrange(4))
    if kind == 5:
        return [value(draw, depth + 1) for _ in some]
    return {text(draw): value(draw, depth + 1) for _ in some}


def data(draw: random.Random, sound: Any) -> Any:
    """A copy of JSON data with one to three of its parts replaced, removed or doubled."""
    spoiled = copy.deepcopy(sound)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(spoiled))
        if not places:
            return value(draw)
        holder, key = draw.choice(places)
        how = draw.randrange(4)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif how == 1:
            holder[text(draw)] = holder.pop(key)
        else:
            holder[key] = value(draw)
    return spoiled


def _places(part: Any) -> Any:
    if isinstance(part, dict):
        for key in part:
            yield part, key
            yield from _places(part[key])
    elif isinstance(part, list):
        for i, inner in enumerate(part):
            yield part, i
            yield from _places(inner)


def dumped(draw: random.Random, content: Any) -> bytes:
    """As JSON text, which is sometimes none."""
    plain = json.dumps(content)
    how = draw.randrange(12)
    if how == 0:
        return cut(draw, plain.encode())
    if how == 1:
        return b"\xef\xbb\xbf" + plain.encode()
    if how == 2:
        return plain.encode("utf-16")
    if how == 3:
        return draw.choice((b"[", b'{"a":', b"-", b'"')) * draw.choice((1, 5000, 200_000))
    if how == 4:
        return bytes_(draw, plain.encode())
    return plain.encode("utf-8")


def cut(draw: random.Random, sound: bytes) -> bytes:
    return sound[: draw.randrange(len(sound) + 1)]


def bytes_(draw: random.Random, sound: bytes) -> bytes:
    """Bytes with some of them changed, removed or put in."""
    spoiled = bytearray(sound)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(spoiled) + 1)
        how = draw.randrange(4)
        if how == 0:
            spoiled[at : at + 1] = bytes([draw.randrange(256)])
        elif how == 1:
            del spoiled[at : at + draw.choice((1, 8, 1000))]
        elif how == 2:
            spoiled[at:at] = draw.choice((b"\0" * 8, b"\xff" * 8, draw.randbytes(5)))
        else:
            spoiled[at : at + 8] = draw.choice((b"\xff" * 8, b"\0" * 8, draw.randbytes(8)))
    return cut(draw, bytes(spoiled)) if draw.random() < 0.15 else bytes(spoiled)
