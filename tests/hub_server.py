"""A Hugging Face hub on this machine: the routes huggingface_hub and datasets ask, and its faults.

Two real HTTP servers, since the hub redirects large files to a storage host of another origin,
where the token must not go.

    with HubServer(Repo("acme/tiny", {"model.gguf": data})) as hub:
        run(..., env={"HF_ENDPOINT": hub.url})
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from http_server import Handler, World

LARGE = (".gguf", ".safetensors", ".parquet")
"""What lies in large file storage: it has a sha256, and comes from the storage host."""

WHEN = "2025-01-01T00:00:00.000Z"


def commit_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


@dataclass
class Repo:
    """A repository. Its files are those of the commit `first`, and the branch main stands there."""

    name: str
    files: dict[str, bytes]
    kind: str = "model"
    gated: bool = False
    allowed: set[str] = field(default_factory=set)
    """Tokens that may read a gated repository."""

    def __post_init__(self) -> None:
        self.commits = {commit_id("first"): self.files}
        self.branches = {"main": commit_id("first")}

    def commit(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Move `branch` to a new commit."""
        self.commits[commit_id(name)] = files
        self.branches[branch] = commit_id(name)
        return commit_id(name)


class HubServer(World):
    """The hub and its storage host."""

    def __init__(self, *repos: Repo) -> None:
        self.repos = {(repo.kind, repo.name): repo for repo in repos}
        super().__init__(hub=Hub, storage=Storage)
        self.url = self.address("hub")
        self.storage_url = self.address("storage")


class Storage(Handler):
    """Large files by their hash, with no idea of repositories and tokens."""

    def route(self) -> None:
        digest, _, name = self.path.removeprefix("/").partition("/")
        for repo in self.world.repos.values():
            for files in repo.commits.values():
                for held, data in files.items():
                    if hashlib.sha256(data).hexdigest() == digest and held.endswith(name):
                        self.serve(held, data)
                        return
        self.answer(404)


class Hub(Handler):
    """Repositories: their commits, listings and files."""

    def route(self) -> None:
        url = urlsplit(self.path)
        if self.world.faults.down:
            self.answer(503)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        for pattern, respond in ROUTES:
            if found := re.fullmatch(pattern, url.path):
                parts = found.groupdict()
                kind = "dataset" if (parts.pop("kind") or "").startswith("dataset") else "model"
                repo = self.world.repos.get((kind, parts.pop("repo")))
                if repo is None:
                    # The hub does not tell a stranger which repositories are private.
                    self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
                    return
                respond(self, repo, parse_qs(url.query) | parse_qs(body), **parts)
                return
        self.answer(404)

    def info(self, repo: Repo, _: dict, rev: str | None = None) -> None:
        if commit := self.commit_of(repo, rev or "main"):
            self.answer_json(
                {
                    "id": repo.name,
                    "sha": commit,
                    "lastModified": WHEN,
                    "private": False,
                    "gated": "manual" if repo.gated else False,
                    "tags": [],
                    "siblings": [
                        {"rfilename": name, "size": self.size(name, data), "blobId": git_id(data)}
                        | ({"lfs": _lfs(data)} if name.endswith(LARGE) else {})
                        for name, data in repo.commits[commit].items()
                    ],
                }
            )

    def tree(self, repo: Repo, query: dict, rev: str, path: str | None = None) -> None:
        if commit := self.commit_of(repo, rev):
            inside = f"{path}/" if path else ""
            files = repo.commits[commit]
            held = {name: data for name, data in files.items() if name.startswith(inside)}
            folders = {str(parent) for name in held for parent in PurePosixPath(name).parents}
            below = {f for f in folders if f.startswith(inside) and f != "."}
            entries = [{"type": "directory", "path": f, "size": 0, "oid": "0" * 40} for f in below]
            entries += [self.entry(name, data) for name, data in held.items()]
            deep = query.get("recursive", [""])[0].lower() in ("true", "1")
            self.answer_json([e for e in entries if deep or "/" not in e["path"][len(inside) :]])

    def paths_info(self, repo: Repo, form: dict, rev: str) -> None:
        if commit := self.commit_of(repo, rev):
            files = repo.commits[commit]
            self.answer_json([self.entry(n, files[n]) for n in form["paths"] if n in files])

    def file(self, repo: Repo, _: dict, rev: str, path: str) -> None:
        if not (commit := self.commit_of(repo, rev)):
            return
        headers = {"X_Repo_Commit": commit}
        data = repo.commits[commit].get(path)
        if data is None:
            body = b"Entry not found"
            self.answer(404, body, X_Error_Code="EntryNotFound", **headers)
        elif repo.gated and path != "README.md" and not self.may_read(repo):
            pass
        elif path.endswith(LARGE):
            digest = hashlib.sha256(data).hexdigest()
            self.answer(
                302,
                Location=f"{self.world.storage_url}/{digest}/{path}",
                X_Linked_Size=str(self.size(path, data)),
                X_Linked_ETag=f'"{digest}"',
                **headers,
            )
        else:
            self.serve(path, data, ETag=f'"{git_id(data)}"', **headers)

    def may_read(self, repo: Repo) -> bool:
        if self.token in repo.allowed:
            return True
        restricted = f"Access to {repo.kind} {repo.name} is restricted"
        if self.token:
            text = f"{restricted} and you are not in the authorized list. Visit the page to ask."
            self.refuse(403, "GatedRepo", text)
        else:
            text = f"{restricted}. You must have access to it and be authenticated. Please log in."
            self.refuse(401, "GatedRepo", text)
        return False

    def commit_of(self, repo: Repo, rev: str) -> str | None:
        commit = repo.branches.get(rev, rev)
        if commit in repo.commits:
            return commit
        self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return None

    def entry(self, name: str, data: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": self.size(name, data), "oid": git_id(data)}
        if name.endswith(LARGE):
            entry["lfs"] = {
                "oid": hashlib.sha256(data).hexdigest(),
                "size": self.size(name, data),
                "pointerSize": 134,
            }
        return entry

    def size(self, name: str, data: bytes) -> int:
        return self.world.faults.sizes.get(name, len(data))


def _lfs(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


REPO = r"(?P<kind>datasets/|models/)?(?P<repo>[\w.-]+/[\w.-]+)"
API = r"/api/(?P<kind>datasets|models)/(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES: Iterable[tuple[str, Callable[..., None]]] = (
    (API, Hub.info),
    (API + r"/revision/(?P<rev>.+)", Hub.info),
    (API + r"/tree/(?P<rev>[^/]+)(?:/(?P<path>.*))?", Hub.tree),
    (API + r"/paths-info/(?P<rev>.+)", Hub.paths_info),
    (rf"/{REPO}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", Hub.file),
)
