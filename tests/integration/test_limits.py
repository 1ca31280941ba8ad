"""A smaller machine within this one: what does not fit is measured, marked and explained."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from conftest import Work
from support import unavailable

from llmpi.device.machine import limits
from llmpi.device.machine.limits import NotPermittedError, limited


@pytest.fixture
def groups() -> None:
    """Control groups that this user may make; CI's user may."""
    v1 = limits.CGROUP / "memory"
    if not os.access(v1 if v1.exists() else limits.CGROUP, os.W_OK):
        unavailable("no control groups may be made")


def groups_of(memory: int) -> list[Path]:
    """Groups of this limit [bytes], by version 1 and 2: those of tests beside have another."""
    found = []
    for file in (
        *limits.CGROUP.glob("memory/llmpi-*/memory.limit_in_bytes"),
        *limits.CGROUP.glob("llmpi-*/memory.max"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max"; another test's goes just now
            found += [file.parent] * (int(file.read_text()) == memory)
    return found


def alone(work: Work) -> Work:
    """With model files of its own: a page in memory is charged to who read it first, and what other
    tests have open is never read from the disk."""
    for file in (work.folder / "results").rglob("*.gguf"):
        shutil.copy(file, copy := file.with_suffix(".copy"))
        copy.replace(file)
    return work


@pytest.mark.fault("a model larger than the memory", by="its mark; the other's record has none")
@pytest.mark.usefixtures("groups")
def test_overflow_is_marked(finished, tmp_path: Path) -> None:
    """F16's weights alone are larger than the memory; Q4_0 fits."""
    work = alone(finished.clone(tmp_path / "work"))
    work.config = {**work.config, "study": "small-machine", "quality": {}}
    # Each token reads the whole file from the disk.
    short = {"prompt_tokens": 4, "output_tokens": 2, "repetitions": 1, "warmup": 0}
    work.config["workloads"] = {"chat": short}
    small = {"transport": "local", "limits": {"memory": "260M", "cpus": 2}}
    small["others_at_most_pct"] = 100
    work.config["devices"] = {"small": small}
    rows = {row["quant"]: row for row in work.summarized()}
    assert (rows["F16"]["status"], rows["F16"]["marks"]) == ("ok", ["memory-bound: overflow"])
    assert (rows["Q4_0"]["status"], rows["Q4_0"]["marks"]) == ("ok", [])
    record = work.json("bench/small-machine/small/smollm2-135m/F16/default.json")
    assert record["limits"] == {"memory": 260 * 1024**2, "cpus": 2}
    assert not groups_of(memory=260 * 1024**2)


@pytest.mark.usefixtures("groups")
def test_a_cell_runs_in_the_memory_that_it_needs(finished, tmp_path: Path) -> None:
    """Which is less than its RSS: that has the pages out of which weights were repacked."""
    [row] = [row for row in finished.summary() if row["quant"] == "Q4_0"]
    needed = row["memory_bytes"]
    assert needed == row["anonymous_bytes"] + row["file_read_bytes"]
    # Which pages go where not all fit is the kernel's affair: it takes some that are needed.
    assert needed < 0.9 * row["peak_rss_bytes"]
    # With the least above what is needed, what is read ahead drives out what is needed.
    enough = round(0.95 * row["peak_rss_bytes"])
    work = alone(finished.clone(tmp_path / "work"))
    work.config |= {"study": "needed", "quants": ["Q4_0"], "quality": {}}
    # What is read ahead for each token is the mark: with few, what the kernel takes is as much.
    long = {"prompt_tokens": 16, "output_tokens": 64, "repetitions": 1, "warmup_limit": 1}
    work.config["workloads"] = {"chat": long}
    here = {"transport": "local", "others_at_most_pct": 100}
    work.config["devices"] = {
        name: {**here, "limits": {"memory": memory}}
        for name, memory in {"enough": enough, "short": round(0.8 * needed)}.items()
    }
    rows = {row["device"]: row for row in work.summarized()}
    assert (rows["enough"]["status"], rows["enough"]["marks"]) == ("ok", [])
    # Whether it reads the rest again or kills the engine is the kernel's affair, too.
    short = rows["short"]
    killed = short["status"] == "failed" and "most likely out of memory" in short["reason"]
    assert killed or short["marks"] == ["memory-bound: overflow"]


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    with pytest.raises(NotPermittedError) as caught, limited({"memory": 1000, "cpus": None}):
        pass
    assert str(caught.value).startswith(
        f"limits need a control group, and {tmp_path}/memory/llmpi-{os.getpid()} says: No such file"
    )


def test_version_2_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    monkeypatch.setattr(limits, "_remove", lambda folder: None)
    with limited({"memory": 4 << 30, "cpus": 1.5}) as [procs]:
        assert procs == tmp_path / f"llmpi-{os.getpid()}/cgroup.procs"
        assert (procs.parent / "memory.max").read_text() == str(4 << 30)
        assert (procs.parent / "cpu.max").read_text() == "150000 100000"


@pytest.mark.parametrize("left_by", ["this id", "one that is gone"])
def test_what_a_killed_one_left_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_by: str
) -> None:
    """An id comes again; a group that is in use (here: has a file in it) stays."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    monkeypatch.setattr(limits, "_remove", lambda folder: None)
    left = tmp_path / (
        "llmpi-99999999" if left_by == "one that is gone" else f"llmpi-{os.getpid()}"
    )
    used, alive = tmp_path / "llmpi-99999998", tmp_path / f"llmpi-{os.getppid()}"
    for folder in (left, used, alive):
        folder.mkdir()
    (used / "file").touch()
    with limited({"memory": 4 << 30, "cpus": None}) as [procs]:
        assert (procs.parent / "memory.max").exists()
    assert used.exists() and alive.exists()
    assert left.exists() == (left == procs.parent)


def test_no_limits() -> None:
    with limited(None) as groups:
        assert groups == []
