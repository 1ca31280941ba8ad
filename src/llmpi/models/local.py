"""Models that lie on this machine."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from llmpi.engine import shards
from llmpi.errors import LlmpiError
from llmpi.gguf.checkpoint import INDEX
from llmpi.models.fetched import (
    Fetched,
    checkpoint_parts,
    gguf_parts,
    is_weights,
    other_weights,
    wrong_hash,
)
from llmpi.records import sha256_of
from llmpi.study.models import PathSource


def fetch(source: PathSource, folder: Path, _lock: Path) -> Fetched:
    """Link the files of `source` into `folder`; nothing is copied.

    Raises:
        LlmpiError: there is no model, more than one, or one with the wrong hash. The user's own
            file stays as it is in any case.
    """
    origin = _origin(source, folder)
    folder_of = origin if origin.is_dir() else origin.parent
    ggufs = _ggufs(origin, source.files)
    names = [name for parts in ggufs for name in parts] or _checkpoint(origin)
    expected = source.sha256
    if expected and len(ggufs[:1] and ggufs[0]) != 1:
        raise LlmpiError(
            f"{origin}: 'sha256' is that of one GGUF file, but this is "
            + ("one in several parts" if ggufs else "a checkpoint")
        )
    chosen = [folder_of / name for name in names]
    advice = f"The file is {chosen[0]}. If it is the one you mean, put its sha256 in the config."
    files = {path.name: _link(path, folder, expected, advice) for path in chosen}
    in_folder = [[PurePath(name).name for name in parts] for parts in ggufs]
    return Fetched(files, {"kind": "path", "path": str(origin)}, ggufs=in_folder)


def fetch_checkpoint(source: PathSource, folder: Path, _lock: Path) -> Fetched:
    """The same of a checkpoint, whatever GGUF files lie beside it.

    Raises:
        LlmpiError: there is none.
    """
    origin = _origin(source, folder)
    if not origin.is_dir():
        raise LlmpiError(
            f"checkpoint: {origin} is no folder with safetensors weights; a GGUF file of full "
            "precision goes first among 'files'"
        )
    files = {name: _link(origin / name, folder, None, "") for name in _checkpoint(origin)}
    return Fetched(files, {"kind": "path", "path": str(origin)})


def _origin(source: PathSource, folder: Path) -> Path:
    """
    Raises:
        LlmpiError: it lies in the folder that is fetched into.
    """
    given = Path(source.path)
    # A file's own link is kept: in the hub's cache, what it leads to has no telling name.
    origin = given.resolve() if given.is_dir() else given.parent.resolve() / given.name
    if folder.resolve() in (origin, *origin.parents):
        raise LlmpiError(
            f"{origin}: this folder is llmpi's own and is cleared; put the model elsewhere"
        )
    return origin


def _ggufs(origin: Path, files: Sequence[str] | None) -> list[list[str]]:
    """The parts of the GGUF files, by their names below the folder; none of a checkpoint."""
    if origin.is_file():
        if origin.suffix != ".gguf":
            raise LlmpiError(f"{origin}: a model file must be a GGUF file, named *.gguf")
        if shards.is_later(origin.name):
            first = shards.names(origin.name)[0]
            raise LlmpiError(f"{origin}: is a later part of a GGUF file: name the first, {first}")
        return gguf_parts([origin.name], _held(origin.parent), str(origin.parent))
    if not origin.is_dir():
        raise LlmpiError(f"{origin}: there is no such file or folder")
    held = _held(origin)
    if files:
        parts = [part for file in files for part in shards.names(file)]
        below = [part for part in parts if (origin / part).is_file()]
        return gguf_parts(files, {*held, *below}, str(origin))
    ggufs = sorted({shards.names(name)[0] for name in held if name.endswith(".gguf")})
    if len(ggufs) > 1:
        raise LlmpiError(
            f"{origin}: holds several GGUF files; name one of them, or some as 'files': "
            + ", ".join(ggufs)
        )
    return gguf_parts(ggufs, held, str(origin))


def _held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def _checkpoint(origin: Path) -> list[str]:
    held, index = _held(origin), origin / INDEX
    parts = checkpoint_parts(held, index.read_bytes)
    if not any(is_weights(name) for name in parts):
        raise LlmpiError(
            f"{origin}: holds neither a GGUF file nor safetensors weights" + other_weights(held)
        )
    return parts


def _link(path: Path, folder: Path, sha256: str | None, advice: str) -> str:
    link = folder / path.name
    link.unlink(missing_ok=True)  # of an earlier fetch: it must not outlive a wrong hash
    digest = sha256_of(path)
    if sha256 and digest != sha256:
        raise wrong_hash(path.name, sha256, digest, advice)
    link.symlink_to(path)
    return digest
