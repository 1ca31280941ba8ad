"""The layering of the house, checked by import-linter (contracts in pyproject.toml)."""

import subprocess
import sys
from pathlib import Path

from support import ROOT


def test_layering() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_snakefile_imports_nothing_heavy() -> None:
    """Parsed in every job: what `rules/common.smk` imports must not pull in the engine."""
    code = (
        "import sys\n"
        "from llmpi import layout, sources_lock\n"
        "from llmpi.study import file, runs\n"
        "heavy = {'numpy', 'llama_cpp', 'fabric', 'huggingface_hub', 'datasets'}\n"
        "heavy |= {'altair', 'optuna'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
