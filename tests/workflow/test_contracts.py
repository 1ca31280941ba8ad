"""What the contracts of `make lint` (import-linter, in pyproject.toml) cannot say."""

import re
import subprocess
import sys

from support import ROOT


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


def test_no_test_module_imports_another() -> None:
    """What two of them need has a module of its own beside them."""
    written = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    found = [
        path for path, text in written.items() if re.search(r"(?m)^\s*(from|import) test_", text)
    ]
    assert found == []
