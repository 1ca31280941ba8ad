"""Download one file of the hub into its cache: resumed after a break, its hash checked.

huggingface_hub 2.4 does neither: what a broken download has brought it throws away, and of a whole
one it checks the size. It also names files as the server's headers say, and takes what comes beyond
the size that was stated. What lies here in the cache afterwards, it takes for its own.
"""

import io
import logging
import os
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx2
from filelock import FileLock
from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    disable_progress_bars,
)

from llmpi.engine.progress import growing
from llmpi.engine.shown import visible
from llmpi.hub_answers import HubAnswerError, check_name
from llmpi.models.fetched import naming, wrong_hash
from llmpi.records import sha256_of

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log every signed address
logging.getLogger("huggingface_hub").handlers.clear()  # what it says goes where all logs go, once

RETRIES = 5
"""Of a broken connection that brings nothing; one that brings something may break any time."""
UNSTATED_BYTES = 64 * 1024**2
"""A file whose size the hub does not state is no larger."""


@dataclass(frozen=True)
class HubFile:
    """A file of the hub, and its places in the cache."""

    repo: str
    commit: str
    name: str

    @property
    def url(self) -> str:
        return hf_hub_url(self.repo, self.name, revision=self.commit)

    @property
    def folder(self) -> Path:
        """Of the repository, in the cache."""
        name = repo_folder_name(repo_id=self.repo, repo_type="model")
        return Path(constants.HF_HUB_CACHE) / name

    @property
    def cached(self) -> Path:
        """Where it lies in the cache once it is held: a link to its blob."""
        return self.folder / "snapshots" / self.commit / self.name

    @property
    def held(self) -> bool:
        found = try_to_load_from_cache(self.repo, self.name, revision=self.commit)
        return isinstance(found, str)

    def owns(self, path: Path) -> bool:
        """Whether `path` lies in the repository's own folder of the cache, whatever links say."""
        return path.parent.resolve().is_relative_to(self.folder.resolve())

    # --- what the hub states; asks it -----------------------------------------------------------

    @cached_property
    def stated(self) -> HfFileMetadata:
        stated = get_hf_file_metadata(self.url, retry_on_errors=True)
        if stated.commit_hash != self.commit:
            raise HubAnswerError(
                f"the hub answers for {self.repo}@{self.commit} with the commit "
                f"{stated.commit_hash!r:.100}"
            )
        return stated

    @property
    def sha256(self) -> str | None:
        """For a file in large file storage; a small one has git's hash, which is another."""
        return sha256_or_none(self.blob.name)

    @property
    def size(self) -> int | None:
        """Bytes."""
        return self.stated.size

    @property
    def blob(self) -> Path:
        name = check_name(f"{self.name} has the ETag", self.stated.etag, "the hub")
        return self.folder / "blobs" / name

    @property
    def lock(self) -> Path:
        """The one `hf_hub_download` takes for this file."""
        return self.folder.parent / ".locks" / self.folder.name / f"{self.blob.name}.lock"

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.blob.name}.llmpi.incomplete")

    @property
    def bytes_to_come(self) -> int:
        return 0 if self.blob.exists() else max(0, (self.size or 0) - _bytes_of(self.partial))

    # --- the download ---------------------------------------------------------------------------

    def download(self) -> None:
        """Fill the cache's blob and link it, as `hf_hub_download` does.

        Raises:
            WrongHashError: what came is not what the hub stated; nothing of it is kept.
            HubAnswerError: more comes than the hub stated.
        """
        if (self.size or 0) > constants.MAX_HTTP_DOWNLOAD_SIZE:
            hf_hub_download(self.repo, self.name, revision=self.commit)  # by its other protocol
            return
        for place in (self.blob, self.lock, self.cached):
            place.parent.mkdir(parents=True, exist_ok=True)
        disable_progress_bars()  # a log is no place for them
        with FileLock(self.lock):
            if not self.blob.exists():
                if self.sha256:
                    log.info("downloading %s: %.2f GB to come", self.name, self.bytes_to_come / 1e9)
                self._receive()
                self._check()
                self.partial.replace(self.blob)
            if not self.cached.exists():
                self.cached.unlink(missing_ok=True)  # a link that leads nowhere
                self.cached.symlink_to(os.path.relpath(self.blob, self.cached.parent))

    def _receive(self) -> None:
        if _bytes_of(self.partial) > (self.size or 0):
            self.partial.unlink()
        retries = RETRIES
        while True:
            start = _bytes_of(self.partial)
            try:
                self._receive_on(start)
                return
            except httpx2.ReadError as error:  # a reset, the one break http_get does not mend
                retries = RETRIES if _bytes_of(self.partial) > start else retries - 1
                if retries == 0:
                    raise
                log.warning("%s: the connection broke (%s); going on", self.name, error)
                time.sleep(1)

    def _receive_on(self, start: int) -> None:
        limit = UNSTATED_BYTES if self.size is None else self.size
        with (
            naming(self.partial),
            growing(self.partial, self.size or 0, f"of {self.name} downloaded", log.info),
            _Bounded(self.partial, limit, self.name) as file,
        ):
            http_get(
                self.url,  # on the hub, not what it redirects to: that address expires
                file,
                resume_size=start,
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=self.size,
                displayed_filename=visible(self.name),
            )

    def _check(self) -> None:
        digest = sha256_of(self.partial)
        if self.sha256 and digest != self.sha256:
            self.partial.unlink()
            advice = "It was damaged on its way. Run again to download it anew."
            raise wrong_hash(self.name, self.sha256, digest, advice)


class _Bounded(io.FileIO):
    """A file that is written on, and no further than to its `limit`, bytes."""

    def __init__(self, path: Path, limit: int, shown: str) -> None:
        super().__init__(path, "ab")
        self._limit = limit
        self._shown = shown

    def write(self, data: bytes) -> int:  # type: ignore[override]  # all that is written here
        if self.tell() + len(data) > self._limit:
            self.truncate(0)
            raise HubAnswerError(
                f"{self._shown}: more comes than the {self._limit:,} bytes that the hub stated. "
                "Nothing was kept."
            )
        return super().write(data)


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def sha256_or_none(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None
