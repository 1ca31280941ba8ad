"""How long the workflow takes to parse: this checkout against another commit of it, in turns.

Snakemake parses the Snakefile anew in every job. What is timed is that alone, of the paper's study:
a process imports Snakemake, then looks at the clock, has it parse the workflow (llmpi's own modules
are imported and the config is checked on the way; no DAG is built), and looks again. The clock is
the processor time of the process and its children, so that what else runs on the machine counts
little. The other commit is checked out into a temporary folder; both use the same installed
packages. The first turn of each fills the caches and is not counted.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workflow", description=__doc__)
    parser.add_argument("--base", default="7147956", help="commit (default: %(default)s)")
    parser.add_argument("--config", default="config/llmpi.yaml", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    args = parser.parse_args()
    ours: list[float] = []
    base: list[float] = []
    with checkout(args.base) as other:
        turns = ((ROOT, ours), (other, base))
        for tree, _ in turns:
            parse_s(tree, args.config)
        for i in range(args.rounds):
            for tree, seconds in turns if i % 2 == 0 else reversed(turns):
                seconds.append(parse_s(tree, args.config))
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


if __name__ == "__main__":
    main()
