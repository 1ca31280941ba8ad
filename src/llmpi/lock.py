"""The lock file beside the config: which commit a branch or tag of the hub stands for.

Light enough for the Snakefile, which reads it at every parse. The first job that meets an unlocked
branch resolves it and writes the entry; `llmpi lock --update` moves entries.

`moves` counts the updates of an entry. It stands in the rules' spec in place of the commit: the
first run, which finds no entry, and the second, which finds one, see the same spec and nothing
reruns; an update changes it and the model is fetched again.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

Kind = Literal["model", "dataset"]
Lock = dict[str, dict[str, Any]]

HEADER = """\
# Written by llmpi: the commit that each branch or tag of the hub stood for when it was first used.
# Keep it under version control; `llmpi lock --update` moves the entries.
"""


def is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def read_lock(path: Path) -> Lock:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}


def moves(lock: Lock, kind: Kind, repo: str, revision: str) -> int:
    """How often `llmpi lock --update` has moved this branch or tag; 0 for a commit."""
    return lock.get(_key(kind, repo, revision), {}).get("moves", 0)


def locked(
    path: Path,
    kind: Kind,
    repo: str,
    revision: str,
    resolve: Callable[[Kind, str, str], str],
    *,
    update: bool = False,
) -> str:
    """The commit `revision` stands for: itself, the lock's, or `resolve`'s, then written down.

    Args:
        path: the lock file; made when needed.
        resolve: asks the hub, and is only called when the lock does not answer.
        update: ask the hub in any case.
    """
    if is_commit(revision):
        return revision
    key = _key(kind, repo, revision)
    held = read_lock(path).get(key)
    if held and not update:
        return held["commit"]
    commit = resolve(kind, repo, revision)
    return _write(path, key, commit)


def _key(kind: Kind, repo: str, revision: str) -> str:
    return f"{kind} {repo}@{revision}"


def _write(path: Path, key: str, commit: str) -> str:
    from filelock import FileLock  # several fetch jobs may resolve at once

    from llmpi.records import now, whole_file

    with FileLock(path.with_name(f".{path.name}.flock")):
        lock = read_lock(path)
        held = lock.get(key)
        if held is None or held["commit"] != commit:
            count = held["moves"] + 1 if held else 0
            lock[key] = {"commit": commit, "resolved": now(), "moves": count}
            with whole_file(path) as partial:
                partial.write_text(HEADER + yaml.safe_dump(lock), encoding="utf-8")
    return commit
