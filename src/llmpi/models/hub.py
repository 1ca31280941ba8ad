"""Models on the Hugging Face hub."""

import fnmatch
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download

from llmpi.errors import LlmpiError
from llmpi.hub import explained, resolve
from llmpi.lock import locked
from llmpi.models.fetch import Fetched
from llmpi.records import sha256_of, whole_file

log = logging.getLogger(__name__)

# What a conversion needs of a checkpoint; not its other formats, which double the download.
CHECKPOINT = (
    "*.safetensors",
    "*.safetensors.index.json",
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


def fetch_hub(source: dict[str, Any], folder: Path, lock: Path) -> Fetched:
    """Download the files through huggingface_hub's cache: resumed, and used offline."""
    repo = source["hub"]
    commit = locked(lock, "model", repo, source["revision"], resolve)
    origin = {"kind": "hub", "hub": repo, "revision": commit, "requested": source["revision"]}
    if constants.HF_HUB_OFFLINE:
        stated, licence = {}, None
        names = [source["file"]] if source["file"] else _cached_names(repo, commit)
    else:
        with explained(repo, commit):
            info = HfApi().model_info(repo, revision=commit, files_metadata=True)
        licence = info.card_data.get("license") if info.card_data else None
        held = {item.rfilename: item for item in info.siblings or []}
        names = _wanted(repo, source["file"], list(held))
        stated = {name: lfs.sha256 for name in names if (lfs := held[name].lfs)}
        _check_room(sum(held[name].size or 0 for name in names))
    files, expected = [], {}
    for name in names:
        with explained(repo, commit):
            cached = Path(hf_hub_download(repo, name, revision=commit))
        sha256 = source["sha256"] or stated.get(name)
        _check_hash(cached, name, sha256)
        target = folder / name
        _place(cached.resolve(), target)
        files.append(target)
        if sha256:
            expected[target.name] = sha256
    return Fetched(files, origin, licence, expected)


def _wanted(repo: str, file: str | None, held: list[str]) -> list[str]:
    if file:
        if file not in held:
            ggufs = ", ".join(sorted(n for n in held if n.endswith(".gguf"))) or "none"
            raise LlmpiError(f"{repo} holds no file {file!r}; its GGUF files: {ggufs}")
        return [file]
    top = [name for name in held if "/" not in name]
    names = [n for n in top if any(fnmatch.fnmatch(n, pattern) for pattern in CHECKPOINT)]
    if not any(name.endswith(".safetensors") for name in names):
        ggufs = ", ".join(sorted(n for n in held if n.endswith(".gguf")))
        raise LlmpiError(
            f"{repo} holds no safetensors weights"
            + (f"; name one of its GGUF files as 'file': {ggufs}" if ggufs else "")
        )
    return names


def _cached_names(repo: str, commit: str) -> list[str]:
    from huggingface_hub import snapshot_download

    with explained(repo, commit):
        folder = snapshot_download(repo, revision=commit, allow_patterns=list(CHECKPOINT))
    return sorted(path.name for path in Path(folder).iterdir())


def _check_room(size: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if size > free:
        raise LlmpiError(
            f"the model needs {size / 1e9:.2f} GB, but {cache} has {free / 1e9:.2f} GB free. "
            "Make room, or set HF_HOME to a larger disk."
        )


def _check_hash(cached: Path, name: str, expected: str | None) -> None:
    if expected and (digest := sha256_of(cached)) != expected:
        cached.resolve().unlink()
        cached.unlink(missing_ok=True)
        raise LlmpiError(
            f"{name} has the wrong hash and was removed.\n"
            f"  expected sha256 {expected}\n  got      sha256 {digest}\n"
            "Run again to download it anew; if it stays so, the file at the hub was replaced."
        )


def _place(cached: Path, target: Path) -> None:
    """Link the file out of the cache, or copy it where the disks differ."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as partial:
        partial.unlink()
        try:
            os.link(cached, partial)
        except OSError:
            shutil.copyfile(cached, partial)
