"""Every rule keeps the house's contract."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from support import ROOT

RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", re.MULTILINE | re.DOTALL)
RULES = {
    name: (path, body)
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in RULE.findall(path.read_text())
}

# Modules whose edits cannot change what a result says: logging, errors, paths (visible as inputs
# and outputs), how files are written, how a host is reached, and tables held against the engine.
PLUMBING = {
    "study/file",
    "engine/info",
    "engine/progress",
    "engine/supervise",
    "errors",
    "script",
    "layout",
    "sources_lock",
    "quant_types",
    "records",
    "remote/connection",
    "remote/transfer",
    "study/runs",
}
# What a script starts by name or by its text, in a process of its own or on the device.
STARTED = {
    "check_devices": ["device/machine/environment"],
    "convert_to_gguf": ["gguf/hf_to_gguf"],
    "benchmark_device": ["device/measure/bandwidth", "device/cli", "device/measure/process"],
    "evaluate_lm_eval": ["quality/lm_eval/model"],
    "train_qat": ["train/__main__"],
    "build_wheel": [
        "device/measure/bandwidth",
        "device/monitor/canary",
        "device/cli",
        "device/measure/process",
        "device/monitor/process",
        "device/service/releases",
        "device/service/serve",
        "device/measure/turn_process",
    ],
    "tune_runtime": [
        "device/measure/bandwidth",
        "device/cli",
        "device/measure/process",
        "device/measure/turn_process",
    ],
}


@pytest.mark.parametrize("name", RULES)
def test_rule_has_what_every_rule_has(name: str) -> None:
    _, body = RULES[name]
    assert body.lstrip().startswith('"""'), "no docstring"
    for directive in ("input", "output", "log", "conda", "script"):
        assert re.search(rf"^    {directive}:", body, re.MULTILINE), f"no {directive}:"
    assert f'"../workflow/scripts/{name}.py"' in body
    for unnamed in re.findall(r"^    (?:input|output):\n        [\"']", body, re.MULTILINE):
        pytest.fail(f"unnamed {unnamed.split(':')[0].strip()}")


@pytest.mark.parametrize("name", RULES)
def test_log_mirrors_the_wildcards_of_the_output(name: str) -> None:
    import llmpi.layout as layout

    _, body = RULES[name]
    patterns = re.findall(
        r"layout\.([A-Z_]+)", body.partition("    output:")[2].partition("    log:")[0]
    )
    wanted = set(re.findall(r"{(\w+)}", getattr(layout, patterns[0])))
    log = body.partition("    log:")[2].partition('"')[2].partition('"')[0]
    assert (
        set(re.findall(r"{(\w+)}", log.replace("{{", "{").replace("}}", "}"))) - {"layout"}
        == wanted
    )
    assert log.startswith(f"logs/{name}/")


@pytest.mark.parametrize("name", RULES)
def test_conda_file_exists(name: str) -> None:
    path, body = RULES[name]
    file = re.search(r'conda:\n        "(.+?)"', body)
    assert file
    assert yaml.safe_load((path.parent / file[1]).read_text())["dependencies"]


@pytest.mark.parametrize("name", RULES)
def test_code_inputs_are_what_the_script_runs(name: str) -> None:
    declared = _declared(name)
    imported = _closure(
        [ROOT / "workflow/scripts" / f"{name}.py", *map(_path, STARTED.get(name, []))]
    )
    imported |= set(STARTED.get(name, []))
    assert declared - imported == set(), "declared, but not run"
    assert imported - declared - PLUMBING == set(), "run, but an edit would go unnoticed"


def _declared(name: str) -> set[str]:
    call = re.search(r"code=code\((.*?)\)", RULES[name][1], re.DOTALL)
    assert call
    modules = set(re.findall(r'"([\w/]+)"', call[1])) - {name}
    shared = (ROOT / "rules/modules.smk").read_text()
    for group in re.findall(r"\*([A-Z_]+)", call[1]):
        listed = shared.partition(f"{group} = [")[2].partition("]")[0]
        modules |= set(re.findall(r'"([\w/]+)"', listed))
    return modules


def _path(module: str) -> Path:
    return ROOT / "src/llmpi" / f"{module}.py"


def _closure(files: list[Path]) -> set[str]:
    """Modules of llmpi that `files` import, at any depth; `device/cli` starts others by name."""
    seen: set[str] = set()
    queue = list(files)
    while queue:
        for module in _imports(queue.pop()):
            if module not in seen:
                seen.add(module)
                queue.append(_path(module))
    return seen


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("llmpi.") and importlib.util.find_spec("llmpi"):
                module = name.removeprefix("llmpi.").replace(".", "/")
                if _path(module).is_file():
                    found.add(module)
    return found
