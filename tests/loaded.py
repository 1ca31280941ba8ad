"""Which modules of llmpi every process of a run loads, by the script of the rule it is part of."""

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from support import ROOT

from llmpi.code import CANNOT_CHANGE_A_RESULT, PACKAGE, code_of

TOLD = {
    "benchmark_device": ["llmpi.device.measure.process"],
    "fetch_model": ["llmpi.models.pypi"],
}
"""What the scripts of the demo are told by their rules to start: `code` of `rules/common.smk`."""
PROCESS = ROOT / "tests/loaded_process"


def env(folder: Path) -> dict[str, str]:
    """The environment of a run whose processes write down what they loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    path = [str(PROCESS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "LOADED": str(folder)}


def by_script(folder: Path) -> dict[str, set[Path]]:
    """Script -> the files that its process and those it started loaded."""
    found: dict[str, set[Path]] = {}
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text())
        if record["script"]:
            found.setdefault(record["script"], set()).update(map(Path, record["files"]))
    return found


def unforeseen(script: str, files: set[Path]) -> set[str]:
    """What was loaded, can change a result, and is not in the derived code of the script."""
    entries = [ROOT / "workflow/scripts" / f"{script}.py", *TOLD.get(script, ())]
    derived = {*_without_effect()}.union(*map(code_of, entries))
    return {str(file.relative_to(PACKAGE)) for file in files - derived if not _is_empty(file)}


def _without_effect() -> Iterator[Path]:
    """The modules that cannot change a result, and what only they import."""
    for file in PACKAGE.rglob("*.py"):
        name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        if any(fnmatch(name, pattern) for pattern in CANNOT_CHANGE_A_RESULT):
            yield from {file, *code_of(file)}


def _is_empty(file: Path) -> bool:
    return file.name == "__init__.py" and file not in code_of(file)
