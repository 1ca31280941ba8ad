"""What a job's processes load: each is a fresh interpreter, and what it imports it waits for."""

import os
import subprocess
import sys

import pytest
from support import ROOT

SCRIPTS = ROOT / "workflow/scripts"
HEAVY = (
    *("altair", "cryptography", "datasets", "fabric", "filelock", "httpx2", "huggingface_hub"),
    *("invoke", "jinja2", "jsonschema", "llama_cpp", "numpy", "optuna", "packaging", "pandas"),
    *("paramiko", "pyarrow"),
    *("scipy", "torch", "typst"),
)
ENGINES = (
    *("benchmark_device", "convert_to_gguf", "deploy_gguf", "evaluate_divergence", "fetch_model"),
    *("prepare_corpus", "prepare_questions", "provision_device", "quantize_gguf"),
    "score_reference",
)
"""Scripts whose work is done by the engine, in processes of its own, or by files being moved."""
NEEDED = {
    "evaluate_quality": {"numpy"},
    "memo": {"jinja2", "numpy", "typst"},
    "recommend": {"numpy"},
    "summarize": {"numpy", "pyarrow"},
}
"""What others need; scipy not before they compute."""


def loaded(code: str, *heavy: str) -> set[str]:
    """Which of the heavy modules a process loads that runs this."""
    code += f"\nimport sys\nprint(*({{*{heavy!r}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {*done.stdout.split()}


@pytest.mark.parametrize("script", [*ENGINES, *NEEDED])
def test_a_script_loads_what_it_needs(script: str) -> None:
    """As Snakemake runs it, but for Snakemake's own part before it."""
    code = f"import runpy\nrunpy.run_path({str(SCRIPTS / script)!r} + '.py', run_name='script')"
    assert loaded(code, *HEAVY) == NEEDED.get(script, set())


@pytest.mark.parametrize(
    "module",
    [
        "llmpi.device.cli",
        "llmpi.gguf.inspect",
        "llmpi.gguf.quantize",
        "llmpi.quality.batching.answer",
    ],
)
def test_what_a_script_starts_checks_no_record(module: str) -> None:
    assert loaded(f"import {module}", *HEAVY, "pydantic") == set()


@pytest.mark.parametrize(
    "module",
    ["llmpi.device.commands.measure", "llmpi.device.measure.process", "llmpi.gguf.no_alloc"],
)
def test_what_runs_the_engine_loads_its_functions_alone(module: str) -> None:
    parts = ("llama_cpp.llama_cpp", "llama_cpp.llama")
    assert loaded(f"import {module}", *HEAVY, *parts) == {"llama_cpp.llama_cpp"}


def test_who_asks_for_the_engines_package_gets_all_of_it() -> None:
    code = (
        "from llmpi.engine.low_level import llama_cpp as functions\n"
        "from llama_cpp.llama_chat_format import Jinja2ChatFormatter\n"
        "import llama_cpp\n"
        "assert llama_cpp.Llama and llama_cpp.llama_cpp is functions"
    )
    assert loaded(code, "llama_cpp.llama") == {"llama_cpp.llama"}


def test_rows_are_written_as_parquet_without_pandas() -> None:
    code = (
        "from llmpi.summary import parquet\n"
        "with parquet._without_pandas():\n"
        "    parquet.pyarrow.Table.from_pylist([{'a': 1.5, 'b': 'text'}, {'a': None, 'b': None}])"
    )
    assert loaded(code, "pandas") == set()
    assert loaded(f"{code}\nimport pandas", "pandas") == {"pandas"}, "others find it as before"


@pytest.mark.parametrize("set_by_user", [None, "20"])
def test_threads_of_numpy_do_not_wait_busily(set_by_user: str | None) -> None:
    code = "import llmpi, os\nprint(os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    env |= {"OPENBLAS_THREAD_TIMEOUT": set_by_user} if set_by_user else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (set_by_user or "4")


def test_numpy_is_not_there_before_it_is_told_how_to_wait() -> None:
    assert loaded("import snakemake.script", "numpy") == set()
