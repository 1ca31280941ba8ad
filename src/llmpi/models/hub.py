"""Models and data sets on the Hugging Face hub.

Files come through the cache that huggingface_hub shares between all programs of a user. One thing
is done here in its place: large files are downloaded into the cache so that what a broken download
has brought is kept, and so that their hash is checked; huggingface_hub 2.4 does neither.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import httpx2
from huggingface_hub import (
    HfApi,
    ModelCard,
    constants,
    get_cached_repo_tree,
    get_hf_file_metadata,
    get_token,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from llmpi.errors import LlmpiError
from llmpi.lock import Kind, locked
from llmpi.models.fetch import Fetched, is_checkpoint_part, naming, place, wrong_hash
from llmpi.records import sha256_of

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log every signed address

CARD = "README.md"
"""The model card; its head states the licence."""


def resolve(kind: Kind, repo: str, revision: str) -> str:
    """The commit that a branch or tag stands for now. Asks the hub.

    Raises:
        LlmpiError: the hub does not say.
    """
    with explained(repo, revision):
        info = HfApi().repo_info(repo, repo_type=kind, revision=revision)
        if not info.sha:
            raise LlmpiError(f"the hub names no commit for {repo}@{revision}")
        return info.sha


def fetch_hub(source: dict[str, Any], folder: Path, lock: Path) -> Fetched:
    """Bring the files of `source` into the hub's cache and link them into `folder`.

    Downloads go on where an earlier one stopped; what is whole in the cache needs no network.

    Raises:
        LlmpiError: what is wrong at the hub, with the network, the token or a hash.
        OSError: the disk is full.
    """
    repo = source["hub"]
    commit = locked(lock, "model", repo, source["revision"], resolve)
    with explained(repo, commit):
        names = _wanted(repo, source["file"], _listing(repo, commit))
        missing = [_Missing(repo, commit, name) for name in names if not _held(repo, commit, name)]
        _check_statement(missing, source["sha256"])
        _check_room(folder, sum(file.bytes_to_come for file in missing))
        for file in missing:
            file.download()
        files = {}
        for name in names:
            target = folder / PurePosixPath(name).name
            files[target.name] = _take(repo, commit, name, target, source["sha256"])
        licence = _licence(repo, commit)
    origin = {"kind": "hub", "hub": repo, "revision": commit, "requested": source["revision"]}
    return Fetched(files, origin, licence)


# --- which files ----------------------------------------------------------------------------------


def _listing(repo: str, commit: str) -> list[str]:
    """The repository's files; out of the cache once they were listed. Brings the model card."""
    folder = Path(snapshot_download(repo, revision=commit, allow_patterns=[CARD], tqdm_class=_Quiet))
    try:
        return [file.path for file in get_cached_repo_tree(repo, revision=commit)]
    except CachedRepoTreeNotFoundError:
        # Offline, and cached by a program that kept no listing: what there is.
        held = (path for path in folder.rglob("*") if path.is_file())
        return [path.relative_to(folder).as_posix() for path in held]


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
