"""Modules that are found by where they lie: nothing else names them, so that one more is a file."""

import importlib
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent


def modules(pattern: str) -> list[ModuleType]:
    """The modules of llmpi with such a name, imported, in the order of their names.

    Args:
        pattern: with `*` for a part of a name, such as `llmpi.quality.*.kind`.
    """
    _, *parts = pattern.split(".")
    found = sorted(PACKAGE.glob("/".join(parts) + ".py"))
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in found]
    return [importlib.import_module(f"llmpi.{name}") for name in names if "__init__" not in name]
