"""Models that lie on this machine."""

from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.models.fetch import Fetched


def fetch_path(source: dict[str, Any], folder: Path) -> Fetched:
    """Link the files of `source` into `folder`; nothing is copied."""
    origin = Path(source["path"]).expanduser().resolve()
    if origin.is_file():
        found = [origin]
    else:
        found = sorted(path for path in origin.glob("*") if path.is_file())
    if not found:
        raise LlmpiError(f"{origin}: there is no file, or no file in this folder")
    ggufs = [path for path in found if path.suffix == ".gguf"]
    if len(ggufs) > 1:
        names = ", ".join(path.name for path in ggufs)
        raise LlmpiError(f"{origin}: holds several GGUF files; name one of them: {names}")
    if origin.is_file() and not ggufs:
        raise LlmpiError(f"{origin}: a model file must be a GGUF file, named *.gguf")
    chosen = ggufs or found
    links = []
    for path in chosen:
        link = folder / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        links.append(link)
    expected = {chosen[0].name: source["sha256"]} if source.get("sha256") else {}
    return Fetched(links, {"kind": "path", "path": str(origin)}, expected_sha256=expected)
