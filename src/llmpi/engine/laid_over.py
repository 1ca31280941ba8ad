"""An engine in a folder of its own, laid over the one that is installed.

What Python finds there comes first: the engine alone is another one; llmpi, the interpreter and all
other packages stay the same.
"""

import os
from pathlib import Path

BUILD_NAME = "llmpi-engine-build.json"
"""In that folder, and in a venv: what the engine was built with."""


def laid_over(folder: str | None) -> dict[str, str]:
    """Variables of a process that is to have the engine of a folder; None for the installed one."""
    if folder is None:
        return {}
    others = os.environ.get("PYTHONPATH")
    path = [str(Path(folder).absolute()), *([others] if others else [])]
    return {"PYTHONPATH": os.pathsep.join(path)}
