"""Every kind of quality task there is: the folders of `llmpi.quality` that have a module `kind`."""

from collections.abc import Mapping
from functools import cache
from types import ModuleType

from llmpi.plugins import modules
from llmpi.quality.kind import TaskKind


@cache
def task_kinds() -> Mapping[str, TaskKind]:
    """Kinds by name.

    Raises:
        TypeError: what a folder exports as `KIND` is none.
    """
    return {kind.name: kind for kind in map(_kind, modules("llmpi.quality.*.kind"))}


def _kind(module: ModuleType) -> TaskKind:
    if not isinstance(module.KIND, TaskKind):
        raise TypeError(f"{module.__name__}: KIND should be a TaskKind of llmpi.quality.kind")
    return module.KIND
