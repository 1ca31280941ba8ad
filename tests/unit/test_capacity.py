"""What this machine has: processors and memory, as the kernel's files tell it."""

from pathlib import Path

import pytest

from llmpi.device.machine import capacity, environment

GB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes such files: name -> text."""
    monkeypatch.setattr(environment, "SYS", tmp_path / "sys")
    monkeypatch.setattr(environment, "PROC", tmp_path / "proc")
    monkeypatch.setattr(capacity, "CPUS", tmp_path / "sys/devices/system/cpu")
    monkeypatch.setattr(capacity, "CGROUP", tmp_path / "sys/fs/cgroup")

    def made(files: dict[str, str], allowed: int = 8) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(allowed)))
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return made


def cpu(number: int, file: str, text: str) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{number}/{file}": text}


def pairs(count: int) -> dict[str, str]:
    """Cores of two threads each."""
    found = {}
    for i in range(count):
        found |= cpu(i, "topology/thread_siblings_list", f"{i // 2 * 2}-{i // 2 * 2 + 1}\n")
    return found


def capacities(*of: int) -> dict[str, str]:
    return {k: v for i, c in enumerate(of) for k, v in cpu(i, "cpu_capacity", f"{c}\n").items()}


QUOTA = {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "250000 100000\n"}
QUOTA_1 = {
    "proc/self/cgroup": "1:cpu:/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize(
    ("files", "allowed", "processors"),
    [
        ({}, 8, 8),
        (pairs(8), 8, 4),
        (pairs(8), 3, 2),
        ({**pairs(4), "sys/devices/cpu_core/cpus": "0-3\n"}, 8, 2),
        (capacities(1024, 1009, 446, 446), 4, 2),
        (capacities(1024, 1024, 1024, 1024), 4, 4),
        (QUOTA, 8, 2),
        (QUOTA_1, 8, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8, 8),
    ],
    ids=["unknown", "pairs", "affinity", "P and E", "big.LITTLE", "alike", "quota", "v1", "max"],
)
def test_processors(machine, files: dict[str, str], allowed: int, processors: int) -> None:
    machine(files, allowed)
    assert capacity.processors() == processors


def meminfo(free: int) -> dict[str, str]:
    return {"proc/meminfo": f"MemTotal:  99999999 kB\nMemAvailable: {free // 1024} kB\n"}


def test_memory_is_what_is_available(machine) -> None:
    machine(meminfo(5 * GB))
    assert capacity.memory_bytes() == 5 * GB


def test_a_parent_group_bounds_memory_and_files_in_memory_do_not_count(machine) -> None:
    machine(
        {
            **meminfo(50 * GB),
            "proc/self/cgroup": "0::/slice/job\n",
            "sys/fs/cgroup/slice/job/memory.max": "max\n",
            "sys/fs/cgroup/slice/memory.max": f"{8 * GB}\n",
            "sys/fs/cgroup/slice/memory.current": f"{6 * GB}\n",
            "sys/fs/cgroup/slice/memory.stat": f"anon 1\ninactive_file {GB}\nactive_file {GB}\n",
        }
    )
    assert capacity.memory_bytes() == 4 * GB


def test_version_1(machine) -> None:
    group = "sys/fs/cgroup/memory/job"
    machine(
        {
            **meminfo(50 * GB),
            "proc/self/cgroup": "4:memory:/job\n0::/\n",
            f"{group}/memory.limit_in_bytes": f"{3 * GB}\n",
            f"{group}/memory.usage_in_bytes": f"{GB}\n",
        }
    )
    assert capacity.memory_bytes() == 2 * GB


def test_what_the_kernel_would_slow_a_group_down_for_is_not_free(machine) -> None:
    machine(
        {
            **meminfo(50 * GB),
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": f"{8 * GB}\n",
            "sys/fs/cgroup/job/memory.high": f"{4 * GB}\n",
            "sys/fs/cgroup/job/memory.current": f"{GB}\n",
        }
    )
    assert capacity.memory_bytes() == 3 * GB


def test_what_a_process_holds_it_need_not_find_free(machine) -> None:
    """But files in its memory, which are counted as free already."""
    held = "VmRSS:    900 kB\nRssAnon:     512 kB\nRssFile:     388 kB\n"
    machine({**meminfo(5 * GB), "proc/self/status": held})
    assert capacity.own_memory_bytes() == 5 * GB + 512 * 1024
