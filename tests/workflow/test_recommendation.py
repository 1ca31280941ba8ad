"""The rule that chooses, run on the summary of a study that was not measured yet."""

from pathlib import Path

import pytest
import yaml
from support import run_snakemake

from llmpi import layout
from llmpi.decide.records import Recommendation
from llmpi.records import read, write_json
from llmpi.study.file import load_study
from llmpi.summary.read import read_records
from llmpi.summary.study import summarize

DECIDING = {
    "constraints": {"tps_at_least": 5, "memory_at_most": "4G"},
    "cost": {
        "currency": "EUR",
        "hardware": {"workstation": {"board": {"value": 80, "source": "list price"}}},
        "lifespan_years": 4,
        "duty_pct": 10,
        "price_per_kwh": 0.3,
    },
}


def test_recommend_writes_its_record(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    config = Path("config/config.yaml")
    config.write_text(config.read_text() + yaml.safe_dump(DECIDING))
    study = load_study(config)
    summary, requirements, out = (
        Path(layout.at(pattern, study=study.study))
        for pattern in (layout.SUMMARY_JSON, layout.REQUIREMENTS, layout.RECOMMENDATION)
    )
    for path, record in zip(
        (summary, requirements), summarize(study, read_records(study)), strict=True
    ):
        write_json(path, record)
    run_snakemake("--cores", "1", "--allowed-rules", "recommend", "--", str(out), cwd=workdir)
    found = read(out, Recommendation)
    assert found["constraints"] == {"tps_at_least": 5, "memory_at_most": 4 * 1024**3}
    assert [d["where"] for d in found["decisions"]] == ["overall", "workstation"]
    assert found["decisions"][0]["killed"] == {"failed": 6}
    assert found["money"]
    [money] = found["money"]["devices"]
    assert money["status"] == "unknown" and money["reason"]["kind"] == "nothing recommended"
