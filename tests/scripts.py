"""The scripts of the rules, as modules."""

import importlib.util
from collections.abc import Callable

from support import ROOT


def main_of(name: str) -> Callable[..., None]:
    """The `main` of a rule's script."""
    path = ROOT / "workflow/scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., None] = module.main
    return found
