"""Who reads the raw JSON with numpy alone comes to the same figures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_decision import overall, summary, tasks
from made_evidence import Truth, answers, requirements
from support import ROOT

from llmpi.decide.choice import recommend
from llmpi.quality.evidence import LogRatio, Requirement, Requirements, Sequential
from llmpi.study.decision import Constraints
from llmpi.study.runs import Scored

F16, Q8, Q4, Q2 = (Scored("m", quant) for quant in ("F16", "Q8_0", "Q4_0", "Q2_K"))
N16, N4 = Scored("n", "F16"), Scored("n", "Q4_0")
TRUTHS = {
    F16: Truth(72, 61),
    Q8: Truth(71.5, 61),
    Q4: Truth(68, 60),
    Q2: Truth(35, 83),
    N16: Truth(70, 64),
    N4: Truth(70, 60),
}


def read(folder: Path) -> tuple[int, list[str]]:
    """(exit status, lines) of the script, which is to find nothing of the product."""
    command = [sys.executable, "-I", ROOT / "tests/cold_reader.py", "asked.json", "choice.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def of_all_kinds(passages: int) -> Requirements:
    """A `squad` task; a gate; a text; prompts with a tag, one variant of which was not asked, and a
    descent's verdict."""
    answered = answers(TRUTHS, passages)
    f1, no_ans = requirements(answered)["requirements"]
    [ab, _] = requirements(answers(TRUTHS, 2 * passages, 2, seed=1), task="ask")["requirements"]
    gate: Requirement = {**f1, "kind": "gate", "margin": 60.0}
    tagged: Requirement = {**ab, "tag": "safety", "variants": ab["variants"][:-1]}
    tagged["variants"] = [{**one, "score": None} for one in tagged["variants"]]
    return {"study": "s", "requirements": [f1, no_ans, gate, tagged, _text(f1), _descent(ab)]}


def _text(like: Requirement) -> Requirement:
    rng = np.random.default_rng(0)
    windows = 16
    found = []
    for at, one in enumerate(like["variants"]):
        nats = rng.normal(2 * at, 3, windows).tolist()
        lost: LogRatio = {"kind": "log ratio", "items": [100] * windows, "nats": nats}
        found.append({**one, "score": None, "loss": None if one["reference"] else lost})
    names = [str(at) for at in range(windows)]
    what: Requirement = {**like, "task": "text", "metric": "perplexity", "cluster": "window"}
    return {**what, "margin": 10.0, "clusters": names, "variants": found}


def _descent(like: Requirement) -> Requirement:
    stopped: Sequential = {
        "kind": "sequential",
        "decision": "holds",
        "items": 60,
        "clusters": 12,
        "loss_pct": 0.5,
        "low_pct": -3.0,
        "high_pct": 2.5,
    }
    one, *_ = like["variants"][1:]
    return {**like, "task": "descent", "variants": [{**one, "score": None, "loss": stopped}]}


def write(folder: Path, passages: int, **limits: object) -> None:
    asked = of_all_kinds(passages)
    scores = overall(answers(TRUTHS, passages))
    choice = recommend(
        summary(scores, quality=tasks(asked)), asked, Constraints.model_validate(limits)
    )
    (folder / "asked.json").write_text(json.dumps(asked))
    (folder / "choice.json").write_text(json.dumps(choice))


@pytest.mark.parametrize(
    ("passages", "confidence_pct"), [(8, 95), (12, 95), (40, 80), (90, 95), (600, 99)]
)
def test_every_figure_is_found_again(tmp_path: Path, passages: int, confidence_pct: float) -> None:
    write(tmp_path, passages, confidence_pct=confidence_pct)
    status, lines = read(tmp_path)
    assert (status, lines[-1].partition(", ")[2]) == (0, "0 differ"), lines
    assert int(lines[-1].split()[0]) > 150


def test_a_figure_that_was_changed_is_found(tmp_path: Path) -> None:
    write(tmp_path, 40)
    choice = json.loads((tmp_path / "choice.json").read_text())
    choice["candidates"][2]["standing"]["requirements"][0]["high"] += 0.001
    (tmp_path / "choice.json").write_text(json.dumps(choice))
    status, [found, total] = read(tmp_path)
    assert status == 1
    assert found.startswith("pi/m/Q4_0/default qa has_ans_f1 high: ")
    assert total.endswith(", 1 differ")


def test_it_reads_with_numpy_alone() -> None:
    text = (ROOT / "tests/cold_reader.py").read_text()
    imported = {
        line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))
    }
    own = {"hashlib", "json", "math", "sys", "pathlib", "statistics"}
    assert imported == {*own, "numpy"}
