"""How long the workflow takes before anything runs: to parse, to plan, to start.

*Parsing.* Snakemake parses the Snakefile anew in every job. What is timed is that alone, of the
paper's study, in this checkout and in another commit of it, in turns: a process imports Snakemake,
then looks at the clock, has it parse the workflow (llmpi's own modules are imported and the config
is checked on the way; no DAG is built), and looks again. The clock is the processor time of the
process and its children, so that what else runs on the machine counts little. The other commit is
checked out into a temporary folder; both use the same installed packages. The first turn of each
fills the caches and is not counted.

*The DAG.* A made-up study of 10 models x 10 types on more and more boards, and beside it a
Snakefile of as many jobs with nothing in them: what Snakemake itself takes. Of both, the user
seconds and the peak memory of the Snakemake process of a dry run (`plan`), of a real start until
the first job begins (`start`), and of a run when everything is there (`noop`), before which
Snakemake is made to believe, by `--touch`, that it made everything: that takes longest.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import made_workflows
from benchmarks.peer import ROOT

PARSE = """\
import resource, sys, time
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings, OutputSettings, ResourceSettings, StorageSettings
)

def clock():
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

config, out = map(Path, sys.argv[1:])
with SnakemakeApi(OutputSettings()) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(),
        config_settings=ConfigSettings(configfiles=[config]),
        storage_settings=StorageSettings(),
        snakefile=Path("Snakefile"),
    )
    start = clock()
    workflow.list_rules()
    out.write_text(str(clock() - start))
"""

TOUCH = """\
from snakemake.cli import main
from snakemake.executors.touch import Executor

Executor.SLEEPING_TIME = 0
main()
"""
"""Snakemake without the tenth of a second that it waits before it touches the files of a job."""

JOBS = [500, 3500, 8000, 15000]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workflow", description=__doc__)
    parser.add_argument("--base", default="7147956", help="commit (default: %(default)s)")
    parser.add_argument("--config", default="config/llmpi.yaml", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument(
        "--jobs", type=int, nargs="*", default=JOBS, help="of the DAGs (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.rounds:
        parsing(args.base, args.config, args.rounds)
    if args.jobs:
        dags(args.jobs)


# --- parsing --------------------------------------------------------------------------------------


def parsing(commit: str, config: str, rounds: int) -> None:
    ours: list[float] = []
    base: list[float] = []
    with checkout(commit) as other:
        turns = ((ROOT, ours), (other, base))
        for tree, _ in turns:
            parse_s(tree, config)
        for i in range(rounds):
            for tree, seconds in turns if i % 2 == 0 else reversed(turns):
                seconds.append(parse_s(tree, config))
    show("parse_ours_s", ours)
    show("parse_base_s", base)
    show("parse_ratio", [mine / theirs for mine, theirs in zip(ours, base, strict=True)])


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A commit of this repository in a folder of its own, for as long as the block runs."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "base"
        done = subprocess.run(
            [*git, "add", "--quiet", "--detach", str(tree), commit],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"commit {commit} cannot be checked out: {done.stderr.strip()}")
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def parse_s(tree: Path, config: str) -> float:
    """Seconds of processor time that one parse takes."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "seconds"
        done = subprocess.run(
            [sys.executable, "-c", PARSE, config, str(out)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{tree} does not parse:\n{done.stderr[-3000:]}")
        return float(out.read_text())


def show(name: str, values: Sequence[float]) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"quartiles of {name} over the turns: {low:.3f}, {high:.3f}")
    print(f"{name}: {middle:.3f}")


# --- the DAG --------------------------------------------------------------------------------------


class Took(NamedTuple):
    """A Snakemake process."""

    user_s: float
    peak_mb: float
    out: str


def dags(sizes: Sequence[int]) -> None:
    ratios: list[float] = []
    per_job: dict[str, list[float]] = {}
    peak_mb = 0.0
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            config = made_workflows.study(Path(scratch), size)
            snakefile = ROOT / "Snakefile"
            jobs, ours = stages(scratch, "--snakefile", snakefile, "--configfile", config)
        with tempfile.TemporaryDirectory() as scratch:
            _, peer = stages(scratch, "--snakefile", made_workflows.empty(Path(scratch), jobs))
        for stage, took in ours.items():
            ratio = took.user_s / peer[stage].user_s
            print(f"{stage}_{jobs}_jobs_s: {took.user_s:.1f}, empty: {peer[stage].user_s:.1f}")
            print(f"{stage}_{jobs}_jobs_mb: {took.peak_mb:.0f}, empty: {peer[stage].peak_mb:.0f}")
            print(f"{stage}_{jobs}_jobs_vs_empty: {ratio:.2f}", flush=True)
            ratios.append(ratio)
            per_job.setdefault(stage, []).append(took.user_s / jobs)
            peak_mb = max(peak_mb, took.peak_mb)
    print(f"vs_empty_max: {max(ratios):.2f}")
    print(f"growth_per_job: {max(each[-1] / each[0] for each in per_job.values()):.2f}")
    print(f"peak_mb: {peak_mb:.0f}")


def stages(folder: str, *workflow: str | Path) -> tuple[int, Mapping[str, Took]]:
    """The number of jobs, and what each stage took."""
    plan = snakemake(folder, *workflow, "--dry-run")
    start = snakemake(folder, *workflow, until=r"Execute |\S+ \S+ started")
    shutil.rmtree(Path(folder) / ".snakemake")
    jobs = next(int(line.split()[1]) for line in plan.out.splitlines() if line.startswith("total"))
    finish(folder, plan.out, *workflow)
    noop = snakemake(folder, *workflow)
    if "Nothing to be done" not in noop.out:
        raise SystemExit(f"something is left to be done:\n{noop.out[-3000:]}")
    return jobs, {"plan": plan, "start": start, "noop": noop}


def finish(folder: str, plan: str, *workflow: str | Path) -> None:
    """Have every file there that a dry run names, with Snakemake's own book of it."""
    for files in re.findall(r"Missing output files: ([^;\n]*)", plan):
        for file in files.split(", "):
            path = Path(folder) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"questions": 1}))
    # Its scheduler's choice among all that is ready takes their number squared.
    some = ("--scheduler", "greedy", "--scheduler-subsample", "200", "--cores", "200")
    snakemake(folder, *workflow, "--touch", "--forceall", *some, start=("-c", TOUCH))


def snakemake(
    folder: str,
    *arguments: str | Path,
    until: str | None = None,
    start: Sequence[str] = ("-m", "snakemake"),
) -> Took:
    """Run it to its end, or until it prints a line that begins so (a regular expression)."""
    process = subprocess.Popen(
        [sys.executable, *start, "--cores", "1", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    lines = []
    with process.stdout as printed:
        for line in printed:
            lines.append(line)
            if until and re.match(until, line):
                os.killpg(process.pid, signal.SIGKILL)
                break
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    out = "".join(lines)
    if process.returncode != (-signal.SIGKILL if until else 0):
        raise SystemExit(f"snakemake ended with {process.returncode}:\n{out[-3000:]}")
    return Took(used.ru_utime, used.ru_maxrss / 1024, out)


if __name__ == "__main__":
    main()
