"""Runtimes that are tuned: their jobs."""

from pathlib import Path

import yaml
from support import ROOT, planned_jobs


def edited(workdir: Path, **changes: object) -> dict[str, int]:
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    runtimes = {"default": {}, "tuned": {"tune": True}}
    mine = {**config, "quality": {}, "runtimes": runtimes, **changes}
    (workdir / "config" / "mine.yaml").write_text(yaml.safe_dump(mine))
    return planned_jobs("--configfile", "config/mine.yaml", cwd=workdir)


def test_settings_are_searched_for_each_variant_on_each_device(workdir: Path) -> None:
    devices = {"here": {"transport": "local"}, "there": {"transport": "local"}}
    jobs = edited(workdir, devices=devices, quants=["F16", "Q4_0"])
    assert jobs["tune_runtime"] == 4
    assert jobs["benchmark_device"] == 8


def test_exclude_takes_searches_out(workdir: Path) -> None:
    jobs = edited(workdir, exclude=[{"runtime": "tuned", "quant": "F16"}])
    assert jobs["tune_runtime"] == 5


def test_nothing_is_searched_unasked(workdir: Path) -> None:
    assert "tune_runtime" not in planned_jobs(cwd=workdir)
