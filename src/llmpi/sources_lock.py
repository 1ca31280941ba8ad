"""The lock file beside the config: which commit a branch or tag of the hub stands for.

Light enough for the Snakefile, which reads it at every parse. The first job that meets an unlocked
branch resolves it and writes the entry; `llmpi lock --update` moves entries.

`moves` counts the updates of an entry. It stands in the rules' spec in place of the commit: the
first run, which finds no entry, and the second, which finds one, see the same spec and nothing
reruns; an update changes it and the model is fetched again.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from llmpi import plain_yaml
from llmpi.errors import LlmpiError
from llmpi.records import now, whole_file

Kind = Literal["model", "dataset"]


class Entry(TypedDict):
    """What a branch or tag stands for."""

    commit: str
    resolved: str
    """When, UTC, ISO 8601."""
    moves: int


Lock = dict[str, Entry]
"""By kind, repository and revision."""

HEADER = """\
# Written by llmpi: the commit that each branch or tag of the hub stood for when it was first used.
# Keep it under version control; `llmpi lock --update` moves the entries.
"""


def is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def read_lock(path: Path) -> Lock:
    """The entries of the lock file; none if there is no file yet.

    Raises:
        LlmpiError: it is no lock file, for instance after a merge conflict.
    """
    try:
        lock = plain_yaml.load(path.read_text(encoding="utf-8")) or {}
        return TypeAdapter(Lock).validate_python(lock)
    except FileNotFoundError:
        return {}
    except ValueError:  # pydantic's and YAML's are some
        raise LlmpiError(
            f"{path}: this is no lock file of llmpi. Mend it, or delete it and run "
            "`llmpi lock`, which resolves every branch and tag anew."
        ) from None


def moves(lock: Lock, kind: Kind, repo: str, revision: str) -> int:
    """How often `llmpi lock --update` has moved this branch or tag; 0 for a commit."""
    entry = lock.get(_key(kind, repo, revision))
    return entry["moves"] if entry else 0


def commit_of(lock: Lock, kind: Kind, repo: str, revision: str) -> str | None:
    """What this branch or tag stands for, where it was resolved before."""
    entry = lock.get(_key(kind, repo, revision))
    return entry["commit"] if entry else None


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

    Raises:
        LlmpiError: the lock file is damaged, or `resolve` finds no commit.
    """
    if is_commit(revision):
        return revision
    if not update and (known := commit_of(read_lock(path), kind, repo, revision)):
        return known
    with _alone(path):
        lock = read_lock(path)
        key = _key(kind, repo, revision)
        held = lock.get(key)
        if held and not update:  # another job was faster, and its answer counts
            return held["commit"]
        commit = resolve(kind, repo, revision)
        if held is None or held["commit"] != commit:
            count = held["moves"] + 1 if held else 0
            _write(path, {**lock, key: {"commit": commit, "resolved": now(), "moves": count}})
        return commit


def _key(kind: Kind, repo: str, revision: str) -> str:
    return f"{kind} {repo}@{revision}"


def _alone(path: Path) -> AbstractContextManager[object]:
    """Several fetch jobs may resolve at once; only one asks the hub and writes."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.flock"))


def _write(path: Path, lock: Lock) -> None:
    with whole_file(path) as partial:
        partial.write_text(HEADER + yaml.safe_dump(lock), encoding="utf-8")
