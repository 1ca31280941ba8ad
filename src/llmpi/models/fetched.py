"""What the sources of models have in common: what was fetched, and how a file takes its name."""

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


def check_gguf_name(file: str) -> None:
    """A source's `file` must be one whole GGUF file.

    Raises:
        LlmpiError: it is another format, or one part of several.
    """
    if not file.endswith(".gguf"):
        raise LlmpiError(f"'file' must name a GGUF file (*.gguf), not {file!r}")
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", file):
        raise LlmpiError(
            f"{file} is one part of a split GGUF file; join the parts with llama.cpp's "
            "llama-gguf-split --merge and use the result as a 'path' source"
        )


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
