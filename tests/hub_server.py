"""A Hugging Face hub on this machine: the routes huggingface_hub and datasets ask, and its faults.

Two real HTTP servers, since the hub redirects large files to a storage host of another origin,
where the token must not go.

    with HubServer(Repo("acme/tiny", {"model.gguf": data})) as hub:
        run(..., env={"HF_ENDPOINT": hub.url})
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

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


@dataclass
class Faults:
    """What goes wrong, by file name."""

    serve: dict[str, bytes] = field(default_factory=dict)
    """Other bytes than those that the hub states the hash of."""
    short: dict[str, int] = field(default_factory=dict)
    """The body ends after so many bytes, each time; Content-Length promises all."""
    drop: dict[str, list[int]] = field(default_factory=dict)
    """The connection is cut after so many bytes of the body: once for each number."""
    reset: bool = False
    """`drop` resets the connection, in place of closing it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Another size than the file has is stated."""
    down: bool = False
    """Every request of the hub is answered by 503."""
    stall: dict[str, threading.Event] = field(default_factory=dict)
    """After half of the body, wait for the event."""


@dataclass(frozen=True)
class Request:
    host: str
    """`hub` or `storage`."""
    method: str
    path: str
    range: str | None
    token: str | None


class HubServer:
    """The hub and its storage host, each on a port of its own."""

    def __init__(self, *repos: Repo) -> None:
        self.repos = {(repo.kind, repo.name): repo for repo in repos}
        self.faults = Faults()
        self.requests: list[Request] = []
        self._hub = self._server("hub", Hub)
        self._storage = self._server("storage", Storage)
        self.url = self._url(self._hub)
        self.storage_url = self._url(self._storage)

    def __enter__(self) -> Self:
        for server in (self._hub, self._storage):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._hub, self._storage):
            server.shutdown()
            server.server_close()

    def asked(self, method: str, ending: str, host: str | None = None) -> list[Request]:
        """The requests so far for paths that end so."""
        return [
            request
            for request in self.requests
            if request.method == method
            and request.path.endswith(ending)
            and host in (None, request.host)
        ]

    def _server(self, host: str, handler: type["Handler"]) -> ThreadingHTTPServer:
        made = type(handler.__name__, (handler,), {"world": self, "host": host})
        server = ThreadingHTTPServer(("127.0.0.1", 0), made)
        server.daemon_threads = True
        return server

    def _url(self, server: ThreadingHTTPServer) -> str:
        return f"http://127.0.0.1:{server.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """What both hosts do: note the request, answer, serve a file by ranges."""

    world: HubServer
    host: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.note()
        self.route()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def route(self) -> None:
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        pass

    def note(self) -> None:
        bearer = self.headers.get("Authorization", "")
        self.token = bearer.removeprefix("Bearer ") or None
        self.path = unquote(self.path)
        self.world.requests.append(
            Request(self.host, self.command, self.path, self.headers.get("Range"), self.token)
        )

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, content: Any) -> None:
        self.answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.answer(status, body, X_Error_Code=code, X_Error_Message=message)

    def serve(self, name: str, data: bytes, **headers: str) -> None:
        """The file, or the range that is asked for, with the faults of its name."""
        faults = self.world.faults
        data = faults.serve.get(name, data)
        start = int(re.sub(r"bytes=(\d+)-.*", r"\1", self.headers.get("Range") or "bytes=0-"))
        if start >= len(data) > 0:
            self.answer(416, Content_Range=f"bytes */{len(data)}")
            return
        self.send_response(206 if "Range" in self.headers else 200)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        size = faults.sizes.get(name, len(data)) if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if drops := faults.drop.get(name):
            self.wfile.write(data[start : start + drops.pop(0)])
            self.hang_up()
        elif name in faults.short:
            self.wfile.write(data[start : faults.short[name]])
            self.hang_up()
        elif name in faults.stall:
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            faults.stall[name].wait(30)
            self.hang_up()
        else:
            self.wfile.write(data[start:])

    def hang_up(self) -> None:
        self.wfile.flush()
        if self.world.faults.reset:
            time.sleep(0.5)  # a reset throws away what the other side has not read yet
            # Closing with a linger of zero sends RST.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()
        self.close_connection = True


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
                respond(self, repo, parse_qs(body), **parts)
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

    def tree(self, repo: Repo, _: dict, rev: str, path: str | None = None) -> None:
        if commit := self.commit_of(repo, rev):
            inside = f"{path}/" if path else ""
            files = repo.commits[commit]
            self.answer_json([self.entry(n, d) for n, d in files.items() if n.startswith(inside)])

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
