"""GGUF files in several parts, as llama-gguf-split names them: `NAME-00001-of-00003.gguf`.

llama.cpp is given the first, and finds the others by its name.
"""

import re
from pathlib import Path

NAME = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>(?!0{5})\d{5})\.gguf")


def stem(file: str) -> str:
    """The name of a GGUF file without what tells its parts apart, and without its ending."""
    found = NAME.fullmatch(file)
    return found["name"] if found else file.removesuffix(".gguf")


def is_later(file: str) -> bool:
    """Whether it is one of several parts, and not the first."""
    found = NAME.fullmatch(file)
    return bool(found and int(found["number"]) != 1)


def names(file: str) -> list[str]:
    """All parts, in order, of the GGUF file whose only or first one is `file`."""
    found = NAME.fullmatch(file)
    if not found:
        return [file]
    count = found["count"]
    return [f"{found['name']}-{i:05}-of-{count}.gguf" for i in range(1, int(count) + 1)]


def parts(gguf: Path) -> list[Path]:
    """All parts of a GGUF file, in order; it may itself be a link to the first of them.

    The name under which it is asked for comes first: in the hub's cache the links have the names.
    """
    is_named = NAME.fullmatch(gguf.name) or not gguf.is_symlink()
    first = gguf if is_named else gguf.parent / gguf.readlink()
    if not NAME.fullmatch(first.name):
        return [gguf]
    return [first.with_name(name) for name in names(first.name)]
