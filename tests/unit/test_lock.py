"""The lock file: a branch is resolved once, moved only on request, and never half written."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from fetching import clean_env
from hub_server import HubServer, Repo, commit_id

from llmpi.errors import LlmpiError
from llmpi.sources_lock import locked, moves, read_lock

STUDY = """\
study: demo
models:
  tiny: {source: {hub: acme/tiny, file: tiny.gguf}}
  pinned: {source: {hub: acme/tiny, revision: %s, file: tiny.gguf}}
quants: [F16]
devices: {here: {transport: local}}
workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}
quality: {qa: {task: squad, hub: acme/qa}}
"""


def test_resolved_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def resolve(kind: str, repo: str, revision: str) -> str:
        asked.append(revision)
        return commit_id(f"{revision} {len(asked)}")

    path = tmp_path / "sources.lock.yaml"
    first = locked(path, "model", "a/b", "main", resolve)
    assert locked(path, "model", "a/b", "main", resolve) == first
    assert asked == ["main"]
    assert locked(path, "dataset", "a/b", "main", resolve) != first, "another thing, same name"
    assert moves(read_lock(path), "model", "a/b", "main") == 0
    moved = locked(path, "model", "a/b", "main", resolve, update=True)
    assert moved != first
    assert moves(read_lock(path), "model", "a/b", "main") == 1


def test_a_commit_needs_no_lock(tmp_path: Path) -> None:
    def never(*_: str) -> str:
        raise AssertionError

    commit = commit_id("any")
    assert locked(tmp_path / "lock", "model", "a/b", commit, never) == commit
    assert not (tmp_path / "lock").exists()


@pytest.mark.fault("many jobs write one file", by="entries that are lost: none")
def test_many_jobs_at_once_lose_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    names = [f"branch{i}" for i in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: locked(path, "model", "a/b", n, lambda *a: commit_id(a[2])), names))
    assert {key: entry["commit"] for key, entry in read_lock(path).items()} == {
        f"model a/b@{name}": commit_id(name) for name in names
    }


@pytest.mark.fault("a file of locked commits damaged", by="the reason, with its remedy")
@pytest.mark.parametrize("text", ["<<<<<<< HEAD\nmodel a/b@main: {}\n", "- a\n", "a: {b: c}\n"])
def test_damaged_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sources.lock.yaml"
    path.write_text(text)
    with pytest.raises(LlmpiError) as caught:
        read_lock(path)
    assert str(caught.value) == (
        f"{path}: this is no lock file of llmpi. Mend it, or delete it and run `llmpi lock`, "
        "which resolves every branch and tag anew."
    )


# --- llmpi lock -----------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[HubServer]:
    tiny = Repo("acme/tiny", {"tiny.gguf": b"1"})
    with HubServer(tiny, Repo("acme/qa", {}, kind="dataset")) as server:
        yield server


def llmpi_lock(hub: HubServer, root: Path, *arguments: str) -> str:
    config = root / "study.yaml"
    config.write_text(STUDY % commit_id("first"))
    done = subprocess.run(
        [sys.executable, "-m", "llmpi.cli", "lock", "--configfile", str(config), *arguments],
        env=clean_env(root, HF_ENDPOINT=hub.url, HF_HOME=str(root / "hf")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_llmpi_lock(hub: HubServer, tmp_path: Path) -> None:
    first, second = commit_id("first"), commit_id("second")
    assert llmpi_lock(hub, tmp_path) == (
        f"model acme/tiny@main: {first} (locked)\ndataset acme/qa@main: {first} (locked)\n"
    )
    hub.repos["model", "acme/tiny"].commit("second", {"tiny.gguf": b"2"})
    assert f"model acme/tiny@main: {first} (unchanged)" in llmpi_lock(hub, tmp_path)
    assert llmpi_lock(hub, tmp_path, "--update") == (
        f"model acme/tiny@main: {second} (moved)\ndataset acme/qa@main: {first} (unchanged)\n"
    )
    lock = tmp_path / "sources.lock.yaml"
    entries = yaml.safe_load(lock.read_text())
    assert entries["model acme/tiny@main"]["moves"] == 1
    mask = os.umask(0)
    os.umask(mask)
    assert lock.stat().st_mode & 0o777 == 0o666 & ~mask
