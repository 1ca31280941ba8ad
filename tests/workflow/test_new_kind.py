"""A new kind of quality task is its folder, the model of its settings and its rule: no other edit.

The toy kind counts the letters of a variant's name, up to a bound.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import ROOT, run_snakemake

SETTINGS = '''
"""Settings of the kind `letters`."""

from typing import Literal

from pydantic import Field

from llmpi.study.task import Task


class LettersTask(Task):
    """How long a variant's name is."""

    task: Literal["letters"]
    """`letters`: letters and digits of a name."""
    at_most: int = Field(default=99, ge=1)
    """No more than that are counted."""
'''

KIND = '''
"""The kind `letters`: how long a variant's name is."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.columns import count, number
from llmpi.engine.records import record
from llmpi.quality.kind import SCORED, STATE, Summary, TaskKind, no_score, plain, records_of

COLUMNS = {
    **STATE,
    "letters": count("Letters and digits of the name"),
    "share_pct": number("%", "Of the bound"),
}


@record
class Counted(TypedDict):
    status: Literal["ok"]
    letters: int
    share_pct: float


def row(record):
    if record["status"] != "ok":
        return no_score(record, COLUMNS)
    return {**SCORED, "letters": record["letters"], "share_pct": record["share_pct"]}


def section(task, rows):
    lines = [
        {"name": variant.quant, **variant._asdict(), "letters": plain(found, "letters")}
        for variant, found in rows.items()
        if found["status"] == "ok"
    ]
    value = {"key": "letters", "title": "letters", "digits": 0}
    quant = {"key": "quant", "title": "quantization", "digits": None}
    return {
        "id": f"letters-{task}",
        "key": "letters",
        "values": {"task": task},
        "parts": [
            {
                "name": "",
                "facts": [{"key": "letters.counted", "values": {"variants": len(lines)}}],
                "chart": {
                    "id": f"letters-{task}",
                    "key": "letters",
                    "kind": "loss over bits per weight",
                    "value": value,
                    "scale": "linear",
                    "limit": None,
                    "verdict": None,
                    "shown": [],
                    "points": lines,
                },
                "table": {"columns": [quant, value], "rows": lines},
                "remarks": [],
            }
        ],
    }


def summarize(study, tasks):
    rows = {
        task: {v: row(r) for v, r in records_of(Counted, study, task).items()} for task in tasks
    }
    return Summary(rows=rows, sections=[section(task, found) for task, found in rows.items()])


KIND = TaskKind(
    name="letters",
    record=Counted,
    columns=COLUMNS,
    summarize=summarize,
    shown=[{"key": "share_pct", "title": "of the bound %", "digits": 0}],
)
'''

RULE = '''
rule count_letters:
    """How long a variant's name is."""
    output:
        quality=layout.QUALITY,
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "letters")),
    params:
        at_most=lambda w: study.quality[w.task].at_most,
    run:
        import json

        letters = min(params.at_most, sum(c.isalnum() for c in wildcards.quant))
        record = {"status": "ok", "letters": letters, "share_pct": 100 * letters / params.at_most}
        Path(output.quality).write_text(json.dumps(record))
'''

QUANTS = ["F16", "Q4_K_M", "Q2_K"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project that has the toy kind, and a study that asks for it."""
    for part in ("config", "envs", "profiles", "rules", "src", "workflow"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "src/llmpi/study/tasks/letters.py").write_text(SETTINGS)
    (tmp_path / "src/llmpi/quality/letters").mkdir()
    (tmp_path / "src/llmpi/quality/letters/__init__.py").touch()
    (tmp_path / "src/llmpi/quality/letters/kind.py").write_text(KIND)
    (tmp_path / "rules/letters.smk").write_text(RULE)
    demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    study = {
        "study": "toy",
        "models": demo["models"],
        "quants": QUANTS,
        "devices": {"here": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 16, "output_tokens": 4}},
        "quality": {"names": {"task": "letters", "at_most": 5}},
    }
    (tmp_path / "config/toy.yaml").write_text(yaml.safe_dump(study))
    return tmp_path


def test_a_kind_is_its_folder_its_settings_and_its_rule(project: Path) -> None:
    ours = {"PYTHONPATH": str(project / "src"), "HF_HUB_OFFLINE": "1"}
    model = "smollm2-135m"
    records = [f"results/quality/toy/{model}/{quant}/f16/names.json" for quant in QUANTS]
    options = ("--configfile", "config/toy.yaml", "--cores", "1")
    planned = run_snakemake(*options, "--dry-run", cwd=project, **ours).stdout
    [why] = re.findall(r"Summarizing study toy\nReason: (.*)\n", planned)
    assert all(record in why for record in records)
    watched = "from llmpi.code import code_of; print(*code_of('llmpi.summary.study'))"
    code = subprocess.check_output(
        [sys.executable, "-c", watched], env=os.environ | ours, text=True
    )
    assert "src/llmpi/quality/letters/kind.py" in code
    run_snakemake(*options, *records, cwd=project, **ours)

    command = [sys.executable, "-m", "llmpi.cli", "report", "--configfile", "config/toy.yaml"]
    subprocess.run(command, cwd=project, env=os.environ | ours, check=True)
    report = project / "results/report/toy"
    with (report / "summary-partial.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["quant"], row["names_letters"], row["names_share_pct"]) for row in rows] == [
        ("F16", "3", "60.0"),
        ("Q4_K_M", "4", "80.0"),
        ("Q2_K", "3", "60.0"),
    ]
    summary = json.loads((report / "summary-partial.json").read_text())
    assert summary["rows"][0]["quality"]["names"]["letters"] == 3
    page = (report / "index-partial.html").read_text()
    assert page.count('<section id="letters-names">') == 2, "in two languages"
    assert page.count('data-figure="letters-names"') == 2
    assert '<th scope="row" class="name">Q4_K_M</th><td>4</td>' in page
    assert '"title":"names\\nof the bound %"' in page, "a column of the table of cells"


def test_what_it_may_not_be_is_told(project: Path) -> None:
    config = project / "config/toy.yaml"
    config.write_text(config.read_text().replace("at_most", "at_least"))
    command = [sys.executable, "-m", "llmpi.cli", "check", "--configfile", "config/toy.yaml"]
    env = os.environ | {"PYTHONPATH": str(project / "src")}
    done = subprocess.run(command, cwd=project, env=env, text=True, capture_output=True)
    assert done.returncode == 1
    assert "quality.names.at_least: unknown key; did you mean 'at_most'?" in done.stderr
