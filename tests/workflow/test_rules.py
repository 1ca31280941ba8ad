"""Every rule keeps the house's contract."""

import re

import pytest
import yaml
from rule_texts import RULES
from support import ROOT

from llmpi.code import code_of

SCRIPTS = ROOT / "workflow/scripts"
ASKED_BY = {"measure_rates": "ask_for_rates"}
"""A rule whose reasons to run are those of another one."""


@pytest.mark.parametrize("name", RULES)
def test_rule_has_what_every_rule_has(name: str) -> None:
    _, body = RULES[name]
    assert body.lstrip().startswith('"""'), "no docstring"
    for directive in ("output", "params", "log", "conda", "script"):
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


@pytest.mark.parametrize("name", [name for name in RULES if name not in ASKED_BY.values()])
def test_code_is_derived_from_the_rules_own_script(name: str) -> None:
    """A parameter: as inputs, its files would be looked at for each of thousands of jobs."""
    by = RULES[ASKED_BY.get(name, name)][1]
    assert re.search(rf'    params:\n        code=(lambda w: )?code\("{name}"[,)]', by)


@pytest.mark.parametrize("name", RULES)
def test_whoever_runs_the_engine_depends_on_it(name: str) -> None:
    """`engine_there`: on this machine; what a device behind SSH has, its receipt says, and an
    endpoint has its own."""
    has = re.search(r"^        engine=(ENGINE|engine_there),$", RULES[name][1], re.MULTILINE)
    runs_there = {"check_devices", "provision_device", "check_parity"}
    runs_there |= {"ask_endpoint", "ask_prompts"}
    runs_there |= {*ASKED_BY}
    asks = name in ASKED_BY.values()
    assert bool(has) == (asks or (runs_engine(name) and name not in runs_there))


def runs_engine(name: str) -> bool:
    """Whether the engine is loaded by what a rule's script does."""
    files = (path for path in code_of(SCRIPTS / f"{name}.py") if path.suffix == ".py")
    loads = r"^ *(import llama_cpp|from (llama_cpp|llmpi\.engine\.low_level) import)\b"
    return any(re.search(loads, path.read_text(), re.M) for path in files)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_fits_in_the_head(name: str) -> None:
    lines = [line for line in RULES[name][1].splitlines() if line.strip()]
    assert len(lines) < 30  # and the line that names it
