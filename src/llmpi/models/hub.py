"""Models on the Hugging Face hub, through the cache that all programs of a user share."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import (
    ModelCard,
    constants,
    get_cached_repo_tree,
    hf_hub_download,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from tqdm.auto import tqdm

from llmpi.errors import LlmpiError
from llmpi.gguf.records import HubOrigin
from llmpi.hub import explained, resolve
from llmpi.models.fetched import Fetched, WrongHashError, is_checkpoint_part, place, wrong_hash
from llmpi.models.hub_download import Missing, sha256_or_none
from llmpi.sources_lock import locked
from llmpi.study.models import HubSource

CARD = "README.md"
"""The model card; its head states the licence."""


def fetch_hub(source: HubSource, folder: Path, lock: Path) -> Fetched:
    """Bring the files of `source` into the hub's cache and link them into `folder`.

    Downloads go on where an earlier one stopped; what is whole in the cache needs no network.

    Raises:
        LlmpiError: what is wrong at the hub, with the network, the token or a hash.
        OSError: the disk is full.
    """
    repo = source.hub
    commit = locked(lock, "model", repo, source.revision, resolve)
    with explained(repo, commit):
        names = _wanted(repo, source.file, _listing(repo, commit))
        missing = [Missing(repo, commit, name) for name in names if not _held(repo, commit, name)]
        for file in missing:
            _check_statement(file.name, source.sha256, file.sha256)
        _check_room(sum(file.bytes_to_come for file in missing))
        for file in missing:
            file.download()
        files = {}
        for name in names:
            target = folder / PurePosixPath(name).name
            files[target.name] = _take(repo, commit, name, target, source.sha256)
        licence = _licence(repo, commit)
    origin: HubOrigin = {
        "kind": "hub",
        "hub": repo,
        "revision": commit,
        "requested": source.revision,
    }
    return Fetched(files, origin, licence)


def _listing(repo: str, commit: str) -> list[str]:
    """The repository's files; out of the cache once they were listed. Brings the model card."""
    card = snapshot_download(repo, revision=commit, allow_patterns=[CARD], tqdm_class=_NoBar)
    try:
        return [file.path for file in get_cached_repo_tree(repo, revision=commit)]
    except CachedRepoTreeNotFoundError:
        # Offline, and cached by a program that kept no listing: what there is.
        held = (path for path in Path(card).rglob("*") if path.is_file())
        return [path.relative_to(card).as_posix() for path in held]


def _wanted(repo: str, file: str | None, held: Sequence[str]) -> list[str]:
    ggufs = ", ".join(sorted(name for name in held if name.endswith(".gguf")))
    if file:
        if file not in held:
            raise LlmpiError(f"{repo} holds no file {file!r}; its GGUF files: {ggufs or 'none'}")
        return [file]
    names = sorted(name for name in held if "/" not in name and is_checkpoint_part(name))
    if not any(name.endswith(".safetensors") for name in names):
        raise LlmpiError(
            f"{repo} holds no safetensors weights"
            + (f"; name one of its GGUF files as 'file': {ggufs}" if ggufs else "")
        )
    return names


class _NoBar(tqdm):
    """The listing is no download worth four progress bars."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # the parent's signature
        super().__init__(*args, **{**kwargs, "disable": True})


def _licence(repo: str, commit: str) -> str | None:
    card = try_to_load_from_cache(repo, CARD, revision=commit)
    if not isinstance(card, str):
        return None
    text = Path(card).read_text(encoding="utf-8", errors="replace")
    stated = ModelCard(text, ignore_metadata_errors=True).data
    licence = stated.get("license_name") or stated.get("license")
    return ", ".join(licence) if isinstance(licence, list) else licence


def _held(repo: str, commit: str, name: str) -> bool:
    return isinstance(try_to_load_from_cache(repo, name, revision=commit), str)


def _check_statement(name: str, wanted: str | None, stated: str | None) -> None:
    """A wrong hash in the config is told before gigabytes are downloaded."""
    if wanted and stated and wanted != stated:
        advice = (
            "That is the hash the hub states. If it is the file you mean, put it in the config."
        )
        raise wrong_hash(name, wanted, stated, advice)


def _check_room(size: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if size > free:
        raise LlmpiError(
            f"the disk is too full: {size / 1e9:.2f} GB are to come, but {cache} has "
            f"{free / 1e9:.2f} GB free. Make room, or set HF_HOME to a folder on a larger disk."
        )


def _take(repo: str, commit: str, name: str, target: Path, sha256: str | None) -> str:
    """Link the file out of the cache under its final name; returns its sha256."""
    cached = Path(hf_hub_download(repo, name, revision=commit))
    blob = cached.parent / cached.readlink() if cached.is_symlink() else cached
    stated = sha256_or_none(blob.name)
    _check_statement(name, sha256, stated)
    advice = "It was damaged in the cache and was removed there. Run again to download it anew."
    try:
        return place(
            lambda to: _link_or_copy(cached.resolve(), to), target, stated or sha256, advice
        )
    except WrongHashError:
        blob.unlink(missing_ok=True)
        cached.unlink(missing_ok=True)
        raise


def _link_or_copy(held: Path, to: Path) -> None:
    try:
        if held.stat().st_uid == os.geteuid():  # a cache of somebody else's is not ours to link
            os.link(held, to)
            return
    except OSError:  # another disk
        pass
    shutil.copyfile(held, to)
