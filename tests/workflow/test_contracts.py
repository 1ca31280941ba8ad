"""What the contracts of `make lint` (import-linter, in pyproject.toml) cannot say."""

import subprocess
import sys


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
