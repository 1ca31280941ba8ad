"""A group of devices: which jobs there are, and that its names survive a round trip."""

from pathlib import Path

import yaml
from support import ROOT, planned_jobs, run_snakemake

SHELF = {
    "transport": "ssh-group",
    "user": "pi",
    "boards": {"a": "pi-a.local", "b-2": {"host": "pi-b.local", "port": 2222}},
}


def on_shelf(workdir: Path) -> list[str]:
    config = yaml.safe_load((ROOT / "config" / "llmpi.yaml").read_text())
    config["devices"] = {"shelf": SHELF}
    (workdir / "config" / "shelf.yaml").write_text(yaml.safe_dump(config))
    return ["--configfile", "config/shelf.yaml"]


def test_speed_is_measured_on_every_board_and_parity_checked_on_one(workdir: Path) -> None:
    one = planned_jobs("--configfile", "config/llmpi.yaml", cwd=workdir)
    two = planned_jobs(*on_shelf(workdir), cwd=workdir)
    assert two["benchmark_device"] == 2 * one["benchmark_device"]
    assert two["provision_device"] == 2
    assert two["check_parity"] == one["check_parity"]
    assert two["evaluate_quality"] == one["evaluate_quality"]


def test_a_boards_name_is_read_back_from_its_paths(workdir: Path) -> None:
    config = on_shelf(workdir)
    [study, model, quant] = ["llmpi", "llama-3.2-1b", "Q4_0"]
    path = f"results/bench/{study}/shelf.b-2/{model}/{quant}/default.json"
    out = run_snakemake("--dry-run", *config, "--", path, cwd=workdir).stdout
    assert f"Measuring {model} {quant} on shelf.b-2 (default)" in out
