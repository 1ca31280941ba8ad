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
from typing import Any, Literal

import yaml

from llmpi.errors import LlmpiError
from llmpi.records import now, whole_file

Kind = Literal["model", "dataset"]
Lock = dict[str, dict[str, Any]]

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
        lock = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for key in lock:
            str(lock[key]["commit"]), int(lock[key]["moves"])
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, TypeError, KeyError, ValueError):
        raise LlmpiError(
            f"{path}: this is no lock file of llmpi. Mend it, or delete it and run "
            "`llmpi lock`, which resolves every branch and tag anew."
        ) from None
    return lock


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

    Raises:
        LlmpiError: the lock file is damaged, or `resolve` finds no commit.
    """
    if is_commit(revision):
        return revision
    key = _key(kind, repo, revision)
    if not update and (held := read_lock(path).get(key)):
        return held["commit"]
    with _alone(path):
        lock = read_lock(path)
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


def _alone(path: Path) -> AbstractContextManager[Any]:
    """Several fetch jobs may resolve at once; only one asks the hub and writes."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.flock"))


def _write(path: Path, lock: Lock) -> None:
    with whole_file(path) as partial:
        partial.write_text(HEADER + yaml.safe_dump(lock), encoding="utf-8")
