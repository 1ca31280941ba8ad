"""Engines that are held against one another: their jobs, and what runs them anew."""

from pathlib import Path

import yaml
from support import ROOT, planned_jobs

TO_THE_REPORT = {"summarize", "recommend", "memo", "report"}
TWO = ["0.3.35", "0.3.36"]


def edited(workdir: Path, **changes: object) -> dict[str, int]:
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    mine = {**config, "quality": {}, "quants": ["F16", "Q4_0"], **changes}
    (workdir / "config" / "mine.yaml").write_text(yaml.safe_dump(mine, sort_keys=False))
    return planned_jobs("--configfile", "config/mine.yaml", cwd=workdir)


def test_they_are_installed_on_each_device_and_compared_with_each_variant(workdir: Path) -> None:
    devices = {"here": {"transport": "local"}, "there": {"transport": "local"}}
    jobs = edited(workdir, devices=devices, engines=TWO)
    assert jobs["install_engines"] == 2
    assert jobs["compare_engines"] == jobs["benchmark_device"] == 4


def test_exclude_takes_comparisons_out(workdir: Path) -> None:
    exclude = [{"quant": "F16", "workload": "chat"}]
    jobs = edited(workdir, engines=TWO, exclude=exclude)
    assert jobs["compare_engines"] == 1


def test_a_draft_model_is_not_compared(workdir: Path) -> None:
    drafted = {"kv_cache": "q8_0", "draft": {"quant": "Q4_0"}}
    jobs = edited(workdir, engines=TWO, runtimes={"default": {}, "drafted": drafted})
    assert (jobs["benchmark_device"], jobs["compare_engines"]) == (3, 2)


def test_no_endpoint_is_compared(workdir: Path) -> None:
    served = [{"model": "smollm2-135m", "quant": "Q4_0", "name": "m"}]
    endpoint = {"url": "http://127.0.0.1:8080/v1", "api": "chat", "serves": served}
    runtimes = {"default": {}, "server": {"endpoint": endpoint}}
    jobs = edited(workdir, engines=TWO, runtimes=runtimes)
    assert (jobs["benchmark_device"], jobs["compare_engines"]) == (3, 2)


def test_nothing_is_compared_unasked(workdir: Path) -> None:
    assert not {"install_engines", "compare_engines"} & {*planned_jobs(cwd=workdir)}
