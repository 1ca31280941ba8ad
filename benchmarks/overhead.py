"""Where the jobs of the demo spend their time, and how much of it is not computing.

The demo is run in a folder of its own, each of its Python processes accounting its processor time
(`benchmarks/accounted_process`): `start` of Python, `snakemake` (what Snakemake has a script
import), `imports` of everything else, `loading` (records, and models for scores; a measurement
times the loading of its model, and that is its work), and `computing`, which is the rest. A job is
the process of its script and all that this starts: engines run in processes of their own. What
Snakemake itself takes, to plan and to start jobs, is told beside.

What no job can do without is the start of a script with nothing in it: `start` and `snakemake` of
one process. Processor time is compared, so that what else runs on the machine counts little.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peer import ROOT

PROCESS = ROOT / "benchmarks" / "accounted_process"
OVERHEAD = ("start", "snakemake", "imports", "loading")
Seconds = Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument(
        "--config", type=Path, default=ROOT / "config/config.yaml", help="another study"
    )
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="(default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tell(*accounted(Path(scratch), args.config.absolute(), args.cores))


def accounted(
    folder: Path, config: Path, cores: int
) -> tuple[Mapping[str, Sequence[Seconds]], float]:
    """Of each job the seconds of its processes, the script's first; and Snakemake's own."""
    accounts = folder / "accounts"
    accounts.mkdir()
    (folder / "config").symlink_to(ROOT / "config")
    path = os.pathsep.join([str(PROCESS), str(ROOT / "src")])
    # Images of containers have it, and each process would compile what it imports of ours.
    there = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", str(cores)),
            *("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)),
            *("--profile", str(ROOT / "profiles/default")),
        ],
        cwd=folder,
        env={**there, "PYTHONPATH": path, "ACCOUNTED": str(accounts)},
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"the demo ended with status {done.returncode}")
    jobs: dict[str, list[Seconds]] = {}
    own = 0.0
    for file in sorted(accounts.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True):
        seen = json.loads(file.read_text())
        seconds = {name: value for name, value in seen.items() if isinstance(value, float)}
        if seen["job"]:  # a script ends after what it started
            jobs.setdefault(seen["job"], []).append(seconds)
        else:
            own += sum(seconds.values())
    return jobs, own


def tell(jobs: Mapping[str, Sequence[Seconds]], snakemake_s: float) -> None:
    names = (*OVERHEAD, "computing")
    by_script: dict[str, list[Sequence[Seconds]]] = {}
    for job, processes in jobs.items():
        by_script.setdefault(job.rpartition("-")[0], []).append(processes)
    print("| script | jobs | processes |" + "".join(f" {name} s |" for name in names))
    print("| --- | --- | --- |" + " --- |" * len(names))
    for script, found in sorted(by_script.items()):
        every = [seconds for processes in found for seconds in processes]
        cells = "".join(f" {_sum(every, name):.2f} |" for name in names)
        print(f"| `{script}` | {len(found)} | {len(every)} |{cells}")
    every = [seconds for processes in jobs.values() for seconds in processes]
    least_s = min(_sum(processes[:1], "start", "snakemake") for processes in jobs.values())
    overhead_s, computing_s = _sum(every, *OVERHEAD), _sum(every, "computing")
    print(f"jobs: {len(jobs)}")
    print(f"processes: {len(every)}")
    for name in names:
        print(f"{name}_s: {_sum(every, name):.1f}")
    print(f"planning_s: {snakemake_s:.1f}")
    print(f"overhead_s: {overhead_s:.1f}")
    print(f"overhead_share_pct: {100 * overhead_s / (overhead_s + computing_s):.1f}")
    print(f"overhead_a_job_s: {overhead_s / len(jobs):.2f}")
    print(f"vs_empty_script: {overhead_s / len(jobs) / least_s:.1f}")


def _sum(processes: Sequence[Seconds], *names: str) -> float:
    return sum(seconds.get(name, 0.0) for seconds in processes for name in names)


if __name__ == "__main__":
    main()
