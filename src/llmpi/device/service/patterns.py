"""Patterns of texts that the engine's grammars can stand: one part behind the other, each a few
letters to choose from and how often.

No groups, no alternatives, nothing within another, and at each letter it is plain which part it is
of: else the engine follows every way to read a token of many letters, and 60 times `a?` keeps it
busy for ever. `+` and `*` are bounded: what is answered keeps to the pattern all the same.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from llmpi.device.service.refusals import wrong

LONGEST_PATTERN = 128
MOST_LETTERS = 256
"""Of an answer to a pattern."""
WITHOUT_END = 64
"""What `+` and `*` allow at most."""
PRINTABLE = "".join(map(chr, range(32, 127)))
CLASSES = {"d": "0-9", "w": "A-Za-z0-9_"}
ESCAPED = r"\.\-\+\*\?\(\)\[\]\{\}\|\^\$\/"
PLAIN = r"A-Za-z0-9 _:/@#%&=,;!~'<>`\-"
IN_CLASS = re.compile(rf"\\[dw]|(?:\\[{ESCAPED}]|[{PLAIN}.+*?(){{}}|$])", re.ASCII)
PART = re.compile(
    rf"(?:\\(?P<short>[dw])|\\(?P<escaped>[{ESCAPED}])|(?P<plain>[{PLAIN}])"
    rf"|\[(?P<choice>(?:\\.|[^\]\\])+)\])"
    r"(?:(?P<sign>[?*+])|\{(?P<least>\d{1,3})(?P<comma>,(?P<most>\d{1,3})?)?\})?",
    re.ASCII,
)
FORM = (
    "a pattern stands between ^ and $, and has letters, digits, signs behind \\, classes such as "
    "[a-z0-9], \\d and \\w, each with ?, *, + or {from,to} behind it; what may be longer or "
    "shorter shares no letter with what may follow it; it has at most "
    f"{LONGEST_PATTERN} letters, an answer {MOST_LETTERS}"
)


def safe(pattern: object, where: str) -> str:
    """The pattern as the engine is given it: classes and numbers, nothing else.

    Raises:
        RefusedError: it is another kind of pattern, or too long.
    """
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN:
        raise wrong(f"{where}: {FORM}")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise wrong(f"{where}: {FORM}")
    inner, at, letters = pattern[1:-1], 0, 0
    found: list[_Part] = []
    while at < len(inner):
        part = PART.match(inner, at)
        if part is None:
            raise wrong(f"{where}: {FORM}")
        least, most = _often(part)
        letters += most
        if least > most or most < 1 or letters > MOST_LETTERS:
            raise wrong(f"{where}: {FORM}")
        found.append(_Part(_letters(part, where), least, most))
        at = part.end()
    if not found or not _is_plain(found):
        raise wrong(f"{where}: {FORM}")
    return f"^{''.join(map(str, found))}$"


class _Part(NamedTuple):
    letters: str
    """Between the brackets of a class of the engine's grammar."""
    least: int
    most: int

    def __str__(self) -> str:
        often = "" if self.least == self.most == 1 else f"{{{self.least},{self.most}}}"
        return f"[{self.letters}]{often}"

    @property
    def all(self) -> set[str]:
        return {*re.findall(f"[{self.letters}]", PRINTABLE)}


def _is_plain(parts: Sequence[_Part]) -> bool:
    """Whether each letter can be of one part alone, wherever an answer stands."""
    follows: set[str] = set()
    for part in reversed(parts):
        own = part.all
        if part.least != part.most and own & follows:
            return False
        follows = own if part.least else own | follows
    return True


def _often(part: re.Match[str]) -> tuple[int, int]:
    if part["sign"]:
        return {"?": (0, 1), "*": (0, WITHOUT_END), "+": (1, WITHOUT_END)}[part["sign"]]
    if part["least"] is None:
        return 1, 1
    least = int(part["least"])
    if part["comma"] is None:
        return least, least
    return least, int(part["most"]) if part["most"] else least + WITHOUT_END


def _letters(part: re.Match[str], where: str) -> str:
    """What stands between the brackets of a class of the engine's grammar."""
    if part["short"]:
        return CLASSES[part["short"]]
    if part["choice"] is None:
        return _one(part["escaped"] or part["plain"])
    found = IN_CLASS.findall(part["choice"])
    if "".join(found) != part["choice"]:
        raise wrong(f"{where}: {FORM}")
    return _choice(found, where)


def _choice(found: list[str], where: str) -> str:
    said, at = "", 0
    while at < len(found):
        one = found[at]
        if one in ("\\d", "\\w"):
            said += CLASSES[one[1]]
            at += 1
        elif at + 2 < len(found) and found[at + 1] == "-" and found[at + 2] not in ("\\d", "\\w"):
            first, last = one[-1], found[at + 2][-1]
            if not (first <= last and _is_run(first, last)):
                raise wrong(f"{where}: {FORM}")
            said += f"{first}-{last}"
            at += 3
        else:
            said += _one(one[-1])
            at += 1
    return said


def _is_run(first: str, last: str) -> bool:
    """Whether all between two letters are of one kind: no sign is let in unseen."""
    return any(first in kind and last in kind for kind in ("0123456789", LOWER, LOWER.upper()))


LOWER = "abcdefghijklmnopqrstuvwxyz"


def _one(letter: str) -> str:
    """Signs by their number: some mean more in a grammar."""
    return letter if letter.isalnum() else f"\\x{ord(letter):02x}"
