"""Models that lie on this machine."""

from pathlib import Path

from llmpi.errors import LlmpiError
from llmpi.gguf.checkpoint import INDEX
from llmpi.models.fetched import (
    Fetched,
    check_gguf_name,
    checkpoint_parts,
    is_weights,
    other_weights,
    wrong_hash,
)
from llmpi.records import sha256_of
from llmpi.study.models import PathSource


def fetch_path(source: PathSource, folder: Path) -> Fetched:
    """Link the files of `source` into `folder`; nothing is copied.

    Raises:
        LlmpiError: there is no model, more than one, or one with the wrong hash. The user's own
            file stays as it is in any case.
    """
    given = Path(source.path)
    # A file's own link is kept: in the hub's cache, what it leads to has no telling name.
    origin = given.resolve() if given.is_dir() else given.parent.resolve() / given.name
    if folder.resolve() in (origin, *origin.parents):
        raise LlmpiError(
            f"{origin}: this folder is llmpi's own and is cleared; put the model elsewhere"
        )
    chosen = _model_files(origin)
    expected = source.sha256
    if expected and chosen[0].suffix != ".gguf":
        raise LlmpiError(f"{origin}: 'sha256' is that of one GGUF file, but this is a checkpoint")
    advice = f"The file is {chosen[0]}. If it is the one you mean, put its sha256 in the config."
    files = {path.name: _link(path, folder, expected, advice) for path in chosen}
    return Fetched(files, {"kind": "path", "path": str(origin)})


def _model_files(origin: Path) -> list[Path]:
    if origin.is_file():
        if origin.suffix != ".gguf":
            raise LlmpiError(f"{origin}: a model file must be a GGUF file, named *.gguf")
        check_gguf_name(origin.name)
        return [origin]
    if not origin.is_dir():
        raise LlmpiError(f"{origin}: there is no such file or folder")
    held = sorted(path for path in origin.iterdir() if path.is_file())
    ggufs = [path for path in held if path.suffix == ".gguf"]
    if len(ggufs) > 1:
        names = ", ".join(path.name for path in ggufs)
        raise LlmpiError(f"{origin}: holds several GGUF files; name one of them: {names}")
    if ggufs:
        return ggufs
    index = origin / INDEX
    parts = checkpoint_parts([path.name for path in held], index.read_bytes)
    if not any(is_weights(name) for name in parts):
        raise LlmpiError(
            f"{origin}: holds neither a GGUF file nor safetensors weights"
            + other_weights([path.name for path in held])
        )
    return [origin / name for name in parts]


def _link(path: Path, folder: Path, sha256: str | None, advice: str) -> str:
    link = folder / path.name
    link.unlink(missing_ok=True)  # of an earlier fetch: it must not outlive a wrong hash
    digest = sha256_of(path)
    if sha256 and digest != sha256:
        raise wrong_hash(path.name, sha256, digest, advice)
    link.symlink_to(path)
    return digest
