"""Download one large file into the hub's cache: resumed after a break, its hash checked.

huggingface_hub 2.4 does neither: what a broken download has brought it throws away, and of a whole
one it checks the size. What lies here in the cache afterwards, it takes for its own.
"""

import logging
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx2
from filelock import FileLock
from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from llmpi.models.fetched import naming, wrong_hash
from llmpi.records import sha256_of

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log every signed address
logging.getLogger("huggingface_hub").handlers.clear()  # what it says goes where all logs go, once

RETRIES = 5
"""Of a broken connection that brings nothing; one that brings something may break any time."""


@dataclass(frozen=True)
class Missing:
    """A file of the hub that the cache does not hold."""

    repo: str
    commit: str
    name: str

    @property
    def url(self) -> str:
        return hf_hub_url(self.repo, self.name, revision=self.commit)

    @cached_property
    def stated(self) -> HfFileMetadata:
        return get_hf_file_metadata(self.url, retry_on_errors=True)

    @property
    def sha256(self) -> str | None:
        """For a file in large file storage; a small one has git's hash, which is another."""
        return sha256_or_none(self.stated.etag or "")

    @property
    def folder(self) -> str:
        return repo_folder_name(repo_id=self.repo, repo_type="model")

    @property
    def blob(self) -> Path:
        return Path(constants.HF_HUB_CACHE) / self.folder / "blobs" / (self.stated.etag or "")

    @property
    def lock(self) -> Path:
        """The one `hf_hub_download` takes for this file."""
        return Path(constants.HF_HUB_CACHE) / ".locks" / self.folder / f"{self.blob.name}.lock"

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.blob.name}.llmpi.incomplete")

    @property
    def bytes_to_come(self) -> int:
        size = self.stated.size or 0
        return 0 if self.blob.exists() else max(0, size - _bytes_of(self.partial))

    def download(self) -> None:
        """Fill the cache's blob; `hf_hub_download` finds it there and links it.

        Files that are small, or too large for HTTP, are left to `hf_hub_download` altogether.

        Raises:
            WrongHashError: what came is not what the hub stated; nothing of it is kept.
        """
        if self.sha256 is None or (self.stated.size or 0) > constants.MAX_HTTP_DOWNLOAD_SIZE:
            return
        self.blob.parent.mkdir(parents=True, exist_ok=True)
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.lock):
            if not self.blob.exists():
                log.info("downloading %s: %.2f GB to come", self.name, self.bytes_to_come / 1e9)
                self._receive()
                self._check()
                self.partial.replace(self.blob)

    def _receive(self) -> None:
        if _bytes_of(self.partial) > (self.stated.size or 0):
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
        with naming(self.partial), self.partial.open("ab") as file:
            http_get(
                self.url,  # on the hub, not what it redirects to: that address expires
                file,
                resume_size=start,
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=self.stated.size,
                displayed_filename=self.name,
            )

    def _check(self) -> None:
        digest = sha256_of(self.partial)
        if self.sha256 and digest != self.sha256:
            self.partial.unlink()
            advice = "It was damaged on its way. Run again to download it anew."
            raise wrong_hash(self.name, self.sha256, digest, advice)


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def sha256_or_none(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None
