"""The example of a decision, and the documents' snippets: they are valid, and decide something."""

import re
from pathlib import Path
from typing import Any

import made_study
import pytest
import yaml
from support import ROOT

from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.report.memo.facts import facts
from llmpi.study.decision import Constraints, Cost, Figure
from llmpi.study.file import load_study


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_the_example_decides(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Its own limits and prices, on records of a finished study: Q4_0 of four, with its money."""
    monkeypatch.chdir(ROOT)
    study = load_study(Path("config/decision.yaml"))
    monkeypatch.chdir(folder)
    made_study.write_records(study)
    summary, requirements = made_study.summarized(study)
    assert study.constraints and study.cost
    chosen = recommend(summary, requirements, study.constraints)
    decision = chosen["decisions"][0]
    assert decision["killed"] == {"tps_at_least": 2, "ttft_at_most": 2}
    assert decision["pick"] == "workstation/smollm2-135m/Q4_0/default"
    prices = costs(summary, study.cost, chosen)
    [money] = prices["devices"]
    assert money["alternatives"].keys() == study.cost.alternatives.keys()
    assert money["co2_g_per_million_tokens"] > 0
    assert (
        facts(summary, {**chosen, "money": costs(summary, study.cost, chosen)})["stage"] == "trial"
    )


def test_every_price_of_the_example_names_its_source() -> None:
    """Nobody shall take an example for a fact."""
    cost = yaml.safe_load((ROOT / "config/decision.yaml").read_text())["cost"]
    given = Cost.model_validate(cost)
    parts = [given.hardware["workstation"], given.engineering, *given.alternatives.values(), given]
    figures = [f for part in parts for _, f in part or [] if isinstance(f, Figure)]
    settings = {"boards", "lifespan_years", "duty_pct"}
    stated = [f for f in figures if f not in [getattr(given, name) for name in settings]]
    assert len(stated) > 15
    assert all(re.match("an example|a guess|not counted|rented", f.source) for f in stated)


def snippets(name: str, pattern: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in re.findall(pattern, (ROOT / name).read_text(), re.S)]


def test_the_readmes_decision_is_valid() -> None:
    found = [s for s in snippets("README.md", r"```yaml\n(.*?)```") if "cost" in s]
    [decision] = found
    devices = {"pi5": {"transport": "ssh", "host": "pi5.local"}}
    made_study.study(devices=devices, **decision)
    Constraints.model_validate(decision["constraints"])


def test_the_methodologys_hat_is_valid() -> None:
    [hat] = snippets("docs/methodology.md", r"```yaml\n(cost:\n.*?)\n```")
    devices = {name: {"transport": "ssh", "host": "pi.local"} for name in ("pi5-nvme", "pi5-sd")}
    rest = {"currency": "EUR", "lifespan_years": 4, "duty_pct": 15, "price_per_kwh": 0.3}
    made_study.study(devices=devices, cost=hat["cost"] | rest)
