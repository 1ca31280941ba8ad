"""What the sources of models have in common: what was fetched, and how a file takes its name."""

import fnmatch
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmpi.engine import shards
from llmpi.errors import LlmpiError
from llmpi.gguf.checkpoint import INDEX, Index
from llmpi.gguf.records import Origin
from llmpi.records import RecordError, check, sha256_of, whole_file

# What a conversion needs of a checkpoint; not its other formats, which double the download, nor
# what lies beside the model: adapters, and the weights once more (consolidated.safetensors).
WEIGHTS = "model*.safetensors"
CHECKPOINT = (
    WEIGHTS,
    INDEX,
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
)

# Folders of this name hold a download on its way; a killed job may leave one behind.
SCRATCH_PREFIX = ".download-"


class WrongHashError(LlmpiError):
    """A file is not the one that was asked for; nothing of it was kept."""


@dataclass(frozen=True)
class Fetched:
    """What a source delivered, and where it comes from."""

    files: dict[str, str]
    """Name in the model's folder -> sha256; each file was checked before it took its name."""
    origin: Origin
    licence: str | None = None
    ggufs: Sequence[Sequence[str]] = ()
    """Of each GGUF file the names of its parts, in the order of the config; none of a
    checkpoint."""


def gguf_parts(files: Iterable[str], held: Collection[str], where: str) -> list[list[str]]:
    """All parts of each of these GGUF files.

    Args:
        files: their first parts, by the names that they are held under.
        where: they are held, for an error.

    Raises:
        LlmpiError: one is not there, or a part of it is not.
    """
    found = []
    for file in files:
        parts = shards.names(file)
        missing = [part for part in parts if part not in held]
        if len(missing) == len(parts):
            ggufs = ", ".join(sorted(name for name in held if name.endswith(".gguf")))
            raise LlmpiError(f"{where} holds no file {file!r}; its GGUF files: {ggufs or 'none'}")
        if missing:
            raise LlmpiError(
                f"{where} holds {len(parts) - len(missing)} of the {len(parts)} parts of {file}, "
                f"missing: {', '.join(missing[:5])}. Bring them there, or take one that is whole"
            )
        found.append(parts)
    return found


def checkpoint_parts(held: Collection[str], index: Callable[[], bytes]) -> list[str]:
    """Names of the files of a checkpoint that a conversion needs: of weights the shards that the
    index names, if there is one.

    Args:
        held: names of all files that lie beside one another.
        index: the content of `INDEX`; only called when that is held.

    Raises:
        LlmpiError: the index is none.
    """
    parts = [name for name in sorted(held) if _is_part(name)]
    if INDEX not in parts:
        return parts
    try:
        shards = set(check(index(), Index, INDEX).get("weight_map", {}).values())
    except RecordError as error:
        raise LlmpiError(f"{error}: it does not say which files hold the weights") from None
    return [name for name in parts if not is_weights(name) or name in shards]


def is_weights(name: str) -> bool:
    return fnmatch.fnmatchcase(name, WEIGHTS)


def other_weights(held: Collection[str]) -> str:
    """What there is of weights in place of a model's, for an error."""
    others = sorted(name for name in held if name.endswith(".safetensors"))
    return f" of a model ({WEIGHTS}), but {', '.join(others[:5])}" if others else ""


def _is_part(name: str) -> bool:
    matches = (fnmatch.fnmatchcase(name, pattern) for pattern in CHECKPOINT)
    return name.isprintable() and any(matches)


def place(write: Callable[[Path], None], target: Path, sha256: str | None, advice: str) -> str:
    """Let `write` make the file; it takes the name `target` only with the right hash.

    Args:
        write: gets the path to write to, which does not exist.
        sha256: expected, or None to take the file as it is.
        advice: what the user can do about a wrong hash.

    Returns:
        The file's sha256.

    Raises:
        WrongHashError: nothing is left.
        OSError: naming `target`.
    """
    with naming(target), whole_file(target) as partial:
        partial.unlink()  # a hard link needs the place free
        write(partial)
        digest = sha256_of(partial)
        if sha256 and digest != sha256:
            raise wrong_hash(target.name, sha256, digest, advice)
    return digest


def wrong_hash(name: str, expected: str, got: str, advice: str) -> WrongHashError:
    return WrongHashError(
        f"{name} has the wrong hash and was not kept.\n"
        f"  expected sha256 {expected}\n  got      sha256 {got}\n{advice}"
    )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the disk names `path`: a failed write names no file, a failed copy the source."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
