"""Engines compared in the whole workflow: on this machine, and behind SSH.

The same engine lies in a second folder, so that nothing has to be compiled; what is told apart is
told by `tests/unit/test_engines.py`, for here the clock would be the judge.
"""

from pathlib import Path
from typing import Any

import pytest
from engine_wheel import NAME, engine_wheel

from llmpi.engine import info

VERSION = info.describe()["version"]
CHAT = {"prompt_tokens": 16, "output_tokens": 4, "repetitions": 1, "warmup": 0, "warmup_limit": 0}


def compared(work: Any, wheel: Path, device: str) -> dict[str, Any]:
    work.config |= {"quants": ["Q4_0"], "quality": {}, "workloads": {"chat": CHAT}}
    work.config["engines"] = {"here": {"version": VERSION}, "again": {"wheel": str(wheel)}}
    study = work.config["study"]
    page = work.shown()
    found = work.json(f"by_engine/{study}/{device}/smollm2-135m/Q4_0/default.json")
    assert (found["status"], found["first"]) == ("ok", "here"), found
    [held] = found["held"]
    assert held["agreement"]["identical"]
    assert [(f["workload"], f["metric"]) for f in held["figures"]] == [
        ("chat", "pp"),
        ("chat", "tg"),
    ]
    assert found["engines"]["again"]["name"] == NAME
    [told] = work.json(f"report/{study}/summary.json")["engines"]
    assert told["held"] == found["held"]
    assert "again against here" in page
    assert not list((work.folder / "results/by_engine").rglob("*.blocks")), "no longer needed"
    return work.json(f"installed/{study}/{device}.json")


@pytest.mark.long  # a second engine
def test_the_same_engine_twice_computes_the_same_here(copy: Any, tmp_path: Path) -> None:
    installed = compared(copy, engine_wheel(tmp_path / "mine"), "here")
    here, again = installed["engines"].values()
    assert here["folder"] is None
    assert here["engine"]["library_sha256"] == again["engine"]["library_sha256"]


@pytest.mark.long  # a second engine
def test_an_engine_is_laid_into_the_store_behind_ssh(over_ssh: Any, tmp_path: Path) -> None:
    work = over_ssh.clone(tmp_path / "work")
    installed = compared(work, engine_wheel(tmp_path / "mine"), "pi")
    store = Path(work.json("devices/pi.json")["store"])
    folder = Path(installed["engines"]["again"]["folder"])
    assert folder.parent == store / "engines"
    assert [path.name for path in (store / "engines").iterdir()] == [folder.name]
    assert not list((store / "jobs").glob("*/")), "collected and forgotten"


def test_an_engine_that_lacks_a_field_ends_the_run_by_name(copy: Any, tmp_path: Path) -> None:
    def older(name: str, held: bytes) -> bytes:
        return held.replace(b'("kv_unified",', b'("kv_one",') if name.endswith(".py") else held

    copy.config["engines"] = {
        "here": {"version": VERSION},
        "old": {"wheel": str(engine_wheel(tmp_path / "old", older))},
    }
    copy.config["quants"] = ["Q4_0"]
    done = copy.write().snakemake("--", "results/installed/small/here.json", check=False)
    assert done.returncode != 0
    assert "engine old cannot be run as llmpi runs one" in done.stdout
    assert "llama_context_params.kv_unified" in done.stdout
    assert not (copy.folder / "results/by_engine").exists()
