"""Settings searched for the real model: here, and behind SSH."""

from pathlib import Path
from typing import Any

from llmpi.remote.tune import tune_runtime
from llmpi.study.measuring import Runtime, Workload
from llmpi.study.study import Study
from llmpi.study.tuning import Tune

NOTHING: dict[str, list] = {key: [] for key in Tune().space.model_dump()}
SLOW = {**NOTHING, "ubatch_tokens": [8]}
"""A prompt of 96 tokens in 12 pieces: every piece reads all weights."""


def test_the_default_keeps_what_an_artificial_slow_setting_would_lose(copy) -> None:
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    copy.config["workloads"] = {"chat": {"prompt_tokens": 96, "output_tokens": 8, "repetitions": 2}}
    copy.config["runtimes"] = {"default": {}, "tuned": {"tune": True}}
    space = {**SLOW, "kv_cache": ["q8_0"], "omp_wait_policy": ["passive"]}
    copy.config["tune"] = {
        "objective": "pp",
        "trials": 6,
        "repetitions": 2,
        "confirm_blocks": 8,
        "agreement_at_least_pct": 0,
        "space": space,
    }
    copy.write().snakemake()
    record = copy.json("tune/small/here/smollm2-135m/Q4_0/tuned.json")
    slow = next(t for t in record["trials"] if t["words"] == "ubatch_tokens: 8")
    assert slow["gain_pct"] is not None
    assert slow["agreement"]["positions"] == 96
    assert record["runtime"]["ubatch_tokens"] == 512
    assert record["tuned"] == (record["gain"] is not None and record["gain"]["low"] > 1)
    assert all(block["turns"] for block in record["blocks"])
    # The winner, whoever it is, is measured as a runtime like any other, and shown.
    session = copy.json("bench/small/here/smollm2-135m/Q4_0/tuned.json")
    settings = {key: value for key, value in record["runtime"].items() if key != "threads"}
    assert settings.items() <= session["settings"].items()
    assert {row["runtime"] for row in copy.summary()} == {"default", "tuned"}
    page = (copy.folder / "results/report/small/index.html").read_text()
    assert "Tuned against default" in page
    assert not list((copy.folder / "results/tune").rglob("*.blocks")), "no longer needed"
    assert "Nothing to be done" in copy.snakemake("--dry-run").stdout


def searched(work, device: str, kept: Path) -> dict[str, Any]:
    tune = Tune.model_validate({"repetitions": 1, "confirm_blocks": 8, "space": SLOW})
    workload = Workload(prompt_tokens=96, output_tokens=2)
    return tune_runtime(
        device,
        Study.model_validate(work.config).devices[device],
        what="a test",
        runtime=Runtime(),
        workloads={"chat": workload},
        tune=tune,
        provisioned=work.json(f"devices/{device}.json"),
        receipt=work.json(f"deploy/{device}/smollm2-135m/Q4_0.json"),
        gguf=work.folder / "results/gguf/smollm2-135m/Q4_0.gguf",
        kept=kept,
    )


def test_blocks_are_measured_detached_on_a_device_behind_ssh(over_ssh, tmp_path: Path) -> None:
    record = searched(over_ssh, "pi", tmp_path / "kept")
    assert record["status"] == "ok"
    assert record["machine"]["processors"] >= 1
    [slow] = record["trials"]
    assert slow["words"] == "ubatch_tokens: 8"
    assert not record["tuned"]
    store = Path(over_ssh.json("devices/pi.json")["store"])
    assert not list(store.glob("jobs/*/")), "collected and forgotten"
