"""Models on the Hugging Face hub, through the cache that all programs of a user share."""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import (
    constants,
    get_cached_repo_tree,
    snapshot_download,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from tqdm.auto import tqdm

from llmpi.errors import LlmpiError
from llmpi.gguf.checkpoint import INDEX
from llmpi.gguf.records import HubOrigin
from llmpi.hub import UnreachableError, explained, resolve
from llmpi.hub_answers import HubAnswerError
from llmpi.models.card import CARD, CARD_BYTES, stated
from llmpi.models.fetched import (
    Fetched,
    WrongHashError,
    checkpoint_parts,
    gguf_parts,
    is_weights,
    other_weights,
    place,
    wrong_hash,
)
from llmpi.models.hub_download import HubFile, sha256_or_none
from llmpi.sources_lock import locked
from llmpi.study.models import HubSource

log = logging.getLogger(__name__)


def fetch(source: HubSource, folder: Path, lock: Path) -> Fetched:
    """Bring the files of `source` into the hub's cache and link them into `folder`.

    Downloads go on where an earlier one stopped; what is whole in the cache needs no network.

    Raises:
        LlmpiError: what is wrong at the hub, with the network, the token or a hash.
        OSError: the disk is full.
    """
    repo = source.hub
    commit = locked(lock, "model", repo, source.revision, resolve)
    with explained(repo, commit):
        held = _listing(repo, commit)
        asked = source.files or ([source.file] if source.file else [])
        ggufs = gguf_parts(asked, held, repo)
        names = [name for parts in ggufs for name in parts] or _checkpoint(repo, commit, held)
        _bring([HubFile(repo, commit, name) for name in names], source.sha256)
        files = {}
        for name in names:
            target = folder / _own_name(name)
            files[target.name] = _take(HubFile(repo, commit, name), target, source.sha256)
        licence = _licence(HubFile(repo, commit, CARD)) if CARD in held else None
    origin: HubOrigin = {
        "kind": "hub",
        "hub": repo,
        "revision": commit,
        "requested": source.revision,
    }
    return Fetched(files, origin, licence, [[*map(_own_name, parts)] for parts in ggufs])


def fetch_checkpoint(source: HubSource, folder: Path, lock: Path) -> Fetched:
    """The same of a checkpoint, which stands beside published files."""
    return fetch(source, folder, lock)


def _listing(repo: str, commit: str) -> list[str]:
    """The repository's files; out of the cache once they were listed."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # that no file is wanted of it
    snapshot = snapshot_download(repo, revision=commit, allow_patterns=[], tqdm_class=_NoBar)
    logging.getLogger("huggingface_hub").setLevel(logging.WARNING)
    try:
        held = [file.path for file in get_cached_repo_tree(repo, revision=commit)]
    except CachedRepoTreeNotFoundError:
        # Offline, and cached by a program that kept no listing: what there is.
        there = (path for path in Path(snapshot).rglob("*") if path.is_file())
        return [path.relative_to(snapshot).as_posix() for path in there]
    for path in held:
        if not isinstance(path, str) or not path or {"", ".", ".."} & set(path.split("/")):
            raise HubAnswerError(f"the hub lists a file {path!r:.100} of {repo}, which is none")
    return held


def _own_name(name: str) -> str:
    """Of a file in the model's folder."""
    return PurePosixPath(name).name


def _checkpoint(repo: str, commit: str, held: Sequence[str]) -> list[str]:
    ggufs = ", ".join(sorted(name for name in held if name.endswith(".gguf")))
    at_top = [name for name in held if "/" not in name]
    names = checkpoint_parts(at_top, lambda: _index(HubFile(repo, commit, INDEX)))
    if not any(is_weights(name) for name in names):
        raise LlmpiError(
            f"{repo} holds no safetensors weights"
            + other_weights(at_top)
            + (f"; name one of its GGUF files as 'file': {ggufs}" if ggufs else "")
        )
    return names


def _index(file: HubFile) -> bytes:
    _bring([file], None)
    return file.cached.read_bytes()


class _NoBar(tqdm):
    """The listing is no download worth four progress bars."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # the parent's signature
        super().__init__(*args, **{**kwargs, "disable": True})


def _licence(card: HubFile) -> str | None:
    """What the card states; a card that cannot be had or read costs the licence, not the model.

    Raises:
        UnreachableError: nothing was said of it: asked again, it may be there.
    """
    try:
        with explained(card.repo, card.commit):
            if not card.held and (card.size is None or card.size > CARD_BYTES):
                raise LlmpiError("it is too large")
            _bring([card], None)
            return stated(card.cached)
    except UnreachableError:
        raise
    except (LlmpiError, ValueError) as error:
        log.warning("the licence is unknown: %s of %s: %s", CARD, card.repo, error)
        return None


def _bring(files: Iterable[HubFile], sha256: str | None) -> None:
    """Into the cache, what of it is not there.

    Args:
        sha256: that the config states.
    """
    missing = [file for file in files if not file.held]
    for file in missing:
        _check_statement(file.name, sha256, file.sha256)
    _check_room(sum(file.bytes_to_come for file in missing))
    for file in missing:
        file.download()


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


def _take(file: HubFile, target: Path, sha256: str | None) -> str:
    """Link the file out of the cache under its final name; returns its sha256."""
    cached = file.cached
    blob = cached.parent / cached.readlink() if cached.is_symlink() else cached
    stated = sha256_or_none(blob.name)
    _check_statement(file.name, sha256, stated)
    advice = "It was damaged in the cache and was removed there. Run again to download it anew."
    try:
        return place(
            lambda to: _link_or_copy(cached.resolve(), to), target, stated or sha256, advice
        )
    except WrongHashError:
        for path in (blob, cached):
            if file.owns(path):
                path.unlink(missing_ok=True)
        raise


def _link_or_copy(held: Path, to: Path) -> None:
    try:
        if held.stat().st_uid == os.geteuid():  # a cache of somebody else's is not ours to link
            os.link(held, to)
            return
    except OSError:  # another disk
        pass
    shutil.copyfile(held, to)
