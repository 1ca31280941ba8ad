"""Take out of texts what says whose machines they were: hosts, users, paths, serial numbers.

What is known is taken out wherever it stands: what the config says of hosts, users and files, what
the records say of folders, and this machine's own names. What only looks like one is, too: absolute
paths, addresses of networks and hardware, serial numbers, keys. In its place stands the same word
for the same thing everywhere, so that records, file names and config still fit together.
"""

import html
import ipaddress
import json
import platform
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationInfo
from pydantic_core import SchemaValidator

from llmpi.study.fields import HIDDEN
from llmpi.study.study import Study
from llmpi.user import user_name

GENERIC = frozenset(
    {
        *("pi", "root", "user", "admin", "debian", "ubuntu", "raspberrypi", "raspberry", "linux"),
        *("localhost", "here", "local", "workstation", "home", "none", "demo", "llmpi", "nobody"),
    }
)
"""Names that everybody's machine has: where they stand as host or user they are taken out, in other
texts they say nothing."""
SHORTEST = 2
"""A known name that is shorter is no word that can be looked for."""

HOSTS, USERS = frozenset({"host"}), frozenset({"user"})
PATHS = frozenset(
    {
        *("store", "identity_file", "known_hosts", "wheel", "server_wheel", "path", "squad_file"),
        *("text_file", "prompts", "judgements", "include_path", "key_file", "password_file"),
    }
)
URLS = frozenset({"url"})
"""Keys of a config."""
PRIVATE = HOSTS | USERS | PATHS | URLS

IN_PATH = r"[^\s'\"`:;,()<>|*?\[\]{}\\]"
ROOTS = "home|root|Users|tmp|var|mnt|media|opt|srv|run|data|etc|usr|boot|dev|sys|proc|build|scratch"
SERIAL = r"(?:serial(?:[ _-]?(?:number|no|short))?|s/n)\.?[\"']?[ \t]*[:=#]?[ \t]*[\"']?"
LOCAL = r"local|lan|home|internal|localdomain|home\.arpa|fritz\.box"
FLAGS = re.IGNORECASE | re.ASCII
BEGIN = r"(?:(?<![a-z0-9])|(?<=%[0-9a-f][0-9a-f])|(?<=\\[nrt])|(?<=\x1b\[\dm)|(?<=\x1b\[\d\dm))"
"""Of a word, also behind what was escaped: `%2F`, `\\n`, a terminal's colour."""
PATTERNS = {
    "url": r"\b[a-z][a-z0-9+.-]{0,20}://[^\s'\"<>]+",
    "quoted": r"(?<=['\"`])~?/[^'\"`\n<>]+(?=['\"`])",
    "path": rf"(?:(?<![\w.<~/-])(?<!:(?=//))(?:~[\w.-]*)?/(?={IN_PATH})"
    rf"|(?<=(?<!\w)-[il])/(?={IN_PATH})|/(?=(?:{ROOTS})/)|%2f(?=(?:{ROOTS})%2f)){IN_PATH}+",
    "drive": r"\b[a-z]:\\[^\s'\"<>|]+",
    "login": r"\b[\w.+-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}",
    "hardware": r"\b(?:[0-9a-f]{2}(?:[:-]|%3a)){5,7}[0-9a-f]{2}\b",
    "bare": r"\b(?:b827eb|dca632|e45f01|d83add|2ccf67|28cdc1|88a29e)[0-9a-f]{6}\b",
    "address": r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)",
    "address6": r"(?<![\w:])(?=[0-9a-f:]{0,4}:[0-9a-f:]{0,4}:)(?=[a-f:]{0,40}\d)"
    r"[0-9a-f:]{3,44}(?:[0-9a-f]|(?<=::))(?:(?:\.\d{1,3}){3})?+(?:%\w+)?(?![\w:])",
    "local": rf"\b[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,8}}\.(?:{LOCAL})\b",
    "uuid": r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    "number": r"\b[0-9a-f]{16}\b",
    "serial": rf"(?<![a-z0-9]){SERIAL}(?=\w{{0,40}}\d)[\w-]{{4,64}}",
    "key": r"\bSHA256:[A-Za-z0-9+/]{20,}=*|\b(?:ssh-\w+|ecdsa-[\w-]+) AAAA[A-Za-z0-9+/=]+",
}
"""What is looked for, the first that fits; documentation's own addresses stay."""
SAID = ("127.0.0.0/8", "0.0.0.0/32", "255.255.255.255/32", "::1/128", "::/128")
DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
PUBLIC = tuple(map(ipaddress.ip_network, (*SAID, *DOCUMENTATION)))
"""Every machine's own addresses, and those that stand in documents (RFC 5737, RFC 3849)."""
HARDWARE = "00:00:5e:00:53"
"""Beginning of hardware addresses in documents (RFC 7042)."""
DONE = re.compile(r"/?path-\d+(\.\w+)?/?", re.IGNORECASE)

What = Literal["host", "user", "path"]


class Redaction:
    """What stands in the place of what; the same wherever it stands.

    Args:
        config: of a study, as it is dumped.
        folders: absolute ones of its devices: in a home folder, the user's name is.
        here: this machine's names, and what each is.
    """

    def __init__(self, config: Any, folders: list[str], here: list[tuple[What, str]]) -> None:
        self._words = re.findall(r"[\w-]+", str(config))  # what a stand-in must not be called
        self._given: dict[tuple[str, str], str] = {}
        users: list[tuple[What, str]] = [
            ("user", found[1]) for folder in folders if (found := HOME.match(folder))
        ]
        self._known: dict[str, str] = {}
        forms: set[str] = set()
        for what, text in [*_named(config), *users, *here]:
            written = {form for name in _names(what, text) for form in _forms(name)}
            for form in written:
                self._known.setdefault(form.casefold(), self._instead(what, text))
            forms |= written
        longest = sorted(forms, key=lambda form: (-len(form), form))
        paths = [name for name in longest if name[0] in "/~"]
        odd = [name for name in paths if not PATH.fullmatch(name)]
        patterns = {
            **PATTERNS,
            "whole": rf"(?:{_any_of(odd)}|(?<=:)(?:{_any_of(paths)}))"
            rf"(?:/{IN_PATH}*|(?![a-z0-9]))",
            "known": rf"{BEGIN}(?:{_any_of(longest)})(?![a-z0-9])",
        }
        order = ("url", "quoted", "whole", "path", "drive", "known", *PATTERNS)
        each = (f"(?P<{name}>{patterns[name]})" for name in dict.fromkeys(order))
        self._any = re.compile("|".join(each), FLAGS)
        self._only_known = re.compile(patterns["known"], FLAGS)

    def text(self, text: str) -> str:
        """A text with stand-ins for all that is private in it."""
        return self._any.sub(self._replaced, text)

    def names(self, text: str) -> str:
        """A text with stand-ins for what is known alone, not for what looks private."""
        return self._only_known.sub(lambda found: self._known[found[0].casefold()], text)

    def config(self, config: Any) -> Any:
        """A config with stand-ins, in what says a host, a user or a file whatever it is."""
        return self._part(config, None)

    def _part(self, part: Any, key: str | None) -> Any:
        if isinstance(part, dict):
            return {self.text(name): self._part(inner, name) for name, inner in part.items()}
        if isinstance(part, list):
            return [self._part(inner, key) for inner in part]
        if not isinstance(part, str):
            return part
        instead = self.text(part)
        if key not in PRIVATE or instead != part or part == HIDDEN or _is_public(part):
            return instead
        if key in URLS:
            return f"http://{self._instead('host', part)}/"
        return self._instead("host" if key in HOSTS else "user" if key in USERS else "path", part)

    def _replaced(self, found: re.Match[str]) -> str:
        text, what = found[0], found.lastgroup
        match what:
            case "known":
                return self._known[text.casefold()]
            case "url":
                return self._url(text)
            case "whole" | "quoted" | "path" | "drive":
                return text if DONE.fullmatch(text) else self._instead("path", text)
            case "address" | "address6":
                return self._address(text)
            case "hardware" | "bare":
                if text.lower().startswith(HARDWARE):
                    return text
                return f"{HARDWARE}:{self._number('hardware', text.lower()):02x}"
            case "local":
                return self._instead("host", text)
            case "login":
                return self._instead("user", text)
            case "serial" | "number":
                return f"serial-{self._number('serial', text.lower())}"
        return f"{what}-{self._number(str(what), text)}"

    def _url(self, text: str) -> str:
        scheme, _, rest = text.partition("://")
        if scheme.lower() == "file":
            return self._instead("path", rest)
        place, slash, path = rest.partition("/")
        host = place.rpartition("@")[2]
        instead = self.text(host)
        if instead != host:
            return f"{scheme}://{instead}/"
        return f"{scheme}://{host}{slash}{self.names(path)}"

    def _address(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text
        if _is_public(str(address)):
            return text
        if address.version == 6:
            return f"2001:db8::{self._number('address6', text.lower()):x}"
        number = self._number("address", text)
        return f"{('192.0.2', '198.51.100', '203.0.113')[number // 254 % 3]}.{number % 254 + 1}"

    def _instead(self, what: What, text: str) -> str:
        if what == "host" and ADDRESS.fullmatch(text):
            return self._address(text)
        if what != "path":
            return f"{what}-{self._number(what, text.lower())}"
        begin = "/" if text.startswith(("/", "~")) else ""
        suffix = PurePosixPath(text).suffix
        return f"{begin}path-{self._number(what, text)}{suffix if SUFFIX.fullmatch(suffix) else ''}"

    def _number(self, what: str, text: str) -> int:
        """The same for the same text, by the order in which they are met."""
        if (what, text) not in self._given:
            number = sum(kind == what for kind, _ in self._given) + 1
            while f"{what}-{number}" in self._words:
                number += 1
            self._given[what, text] = str(number)
            self._words.append(f"{what}-{number}")
        return int(self._given[what, text])


def names_here() -> list[tuple[What, str]]:
    """This machine's own names, as a redaction takes them."""
    return [
        ("host", platform.node()),
        ("user", user_name()),
        ("path", str(Path.home())),
        ("path", str(Path.cwd())),
    ]


def _any_of(names: Iterable[str]) -> str:
    """A pattern of them; of none what fits nothing."""
    return "|".join("".join(map(_any_case, name)) for name in names) or "(?!)"


def _any_case(character: str) -> str:
    """Of what is not ASCII, to which `FLAGS` say nothing."""
    if character.isascii():
        return re.escape(character)
    cases = {character, character.lower(), character.upper()}
    same = {one for one in cases if one.casefold() == character.casefold() and len(one) == 1}
    return f"[{''.join(sorted(same))}]"


def _forms(name: str) -> Iterator[str]:
    """A name as texts, shells, addresses, pages, JSON and Python's bytes write it."""
    for one in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
        raw = one.encode("utf-8", "surrogatepass")
        written = (one, one.casefold(), one.replace(" ", "\\ "), html.escape(one), quote(raw))
        for form in (*written, quote(raw, safe=""), json.dumps(one)[1:-1], repr(raw)[2:-1]):
            yield form.lower()


PATH = re.compile(PATTERNS["path"], FLAGS)
HOME = re.compile(r"/(?:home|Users)/([^/]+)")
ADDRESS = re.compile(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:]*:[0-9a-f:%\w]*", re.IGNORECASE)
BOARD = re.compile(r"r?(aspberry-?)?pi-?(zero)?-?\d*\w?", re.IGNORECASE)
"""What a board is, and many are called."""
SUFFIX = re.compile(r"\.\w{1,8}")


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in net for net in PUBLIC if net.version == address.version)


def _named(part: Any, key: str | None = None) -> Iterator[tuple[What, str]]:
    """What a config says of hosts, users and files."""
    if isinstance(part, dict):
        for name, inner in part.items():
            yield from _named(inner, name)
    elif isinstance(part, list):
        for inner in part:
            yield from _named(inner, key)
    elif isinstance(part, str) and part != HIDDEN:
        if key in URLS:
            yield "host", _host_of(part)
        elif key in PRIVATE:
            yield "host" if key in HOSTS else "user" if key in USERS else "path", part


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return url.partition("://")[2]


def _names(what: What, text: str) -> Iterator[str]:
    """The names by which it is known: a host's first part, too."""
    if what == "host" and ADDRESS.fullmatch(text):
        if not _is_public(text):
            yield text
        return
    first = text.partition(".")[0]
    for name in (text, first) if what == "host" and not BOARD.fullmatch(first) else (text,):
        if len(name) >= SHORTEST and name.lower() not in GENERIC | _words():
            yield name


@cache
def _words() -> frozenset[str]:
    """What a config may say word for word, such as `shelly`, which many a plug is called."""

    def said(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            for key, inner in part.items():
                found = [inner] if key == "const" else inner if key == "enum" else []
                yield from (word.lower() for word in found if isinstance(word, str))
                yield from said(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from said(inner)

    return frozenset(said(Study.model_json_schema()))


# --- records --------------------------------------------------------------------------------------


def redacted(kind: object, content: bytes, redaction: Redaction) -> Any:
    """A record with stand-ins in its texts; what its type says word for word stays.

    Raises:
        ValidationError: it does not fit its type, or not with stand-ins.
    """
    return _texts_of(kind).validate_json(content, context=redaction)


@cache
def _texts_of(kind: Any) -> SchemaValidator:
    """A record's validator in which each text is replaced: its type tells texts from words that
    mean something to a program (a status, a field's name)."""
    return SchemaValidator(_with_replaced(TypeAdapter(kind).core_schema))


def _with_replaced(schema: Any) -> Any:
    if isinstance(schema, dict):
        if schema.get("type") == "str":
            function = {"type": "with-info", "function": _replaced}
            return {"type": "function-after", "function": function, "schema": schema}
        return {key: _with_replaced(part) for key, part in schema.items()}
    if isinstance(schema, list | tuple):
        return type(schema)(map(_with_replaced, schema))
    return schema


def _replaced(text: str, info: ValidationInfo[Redaction]) -> str:
    return info.context.text(text)
