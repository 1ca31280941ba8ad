"""Every kind of quality task there is: the folders of `llmpi.quality` that have a module `kind`."""

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from llmpi.quality.kind import TaskKind


@cache
def task_kinds() -> Mapping[str, TaskKind]:
    """Kinds by name.

    Raises:
        TypeError: what a folder exports as `KIND` is none.
    """
    return {kind.name: kind for kind in map(_kind, sorted(Path(__file__).parent.glob("*/kind.py")))}


def _kind(path: Path) -> TaskKind:
    module = importlib.import_module(f"llmpi.quality.{path.parent.name}.kind")
    if not isinstance(module.KIND, TaskKind):
        raise TypeError(f"{path}: KIND should be a TaskKind of llmpi.quality.kind")
    return module.KIND
