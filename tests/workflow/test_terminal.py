"""What a run looks like: drawn on a terminal, in lines elsewhere; and nothing of it ends a run."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from support import ROOT, run_snakemake

SNAKEFILE = """
rule all:
    input: expand("{n}.out", n=range(3)),

rule work_on:
    output: "{n}.out",
    log: "logs/work_on/{n}.log",
    shell:
        "sleep 1; for i in 1 2 3; do"
        "  for _ in $(seq 9000); do test $i = 3 -a -e unseen && sleep 0.1 || break; done;"
        "  echo \\"12:00:00 work_on/{wildcards.n} $i/3 steps, 1/s\\" >&2; sleep 0.4;"
        "done;"
        "echo a stray word of {wildcards.n} >&2;"
        "test {wildcards.n} != 1 -o ! -e fail && touch {output}"
"""
LINE = re.compile(r"\d\d:\d\d:\d\d \S+/\S+ \S.*")
OURS = ("--logger", "llmpi")
STEPS = r"work.*[123]/3 steps"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def on_a_terminal(
    folder: Path, *arguments: str, columns: int = 80, seen: str = "", **env: str
) -> tuple[int, str]:
    """Status and what the terminal got.

    Args:
        seen: before their last step jobs wait until the terminal got what fits this.
    """
    if seen:
        (folder / "unseen").touch()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "3", *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    got = b""
    while select.select([ours], [], [])[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        got += piece
        if seen and re.search(seen.encode(), got):
            (folder / "unseen").unlink(missing_ok=True)
    os.close(ours)
    return process.wait(), got.decode()


def piped(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    done = run_snakemake("--cores", "3", *OURS, *arguments, cwd=folder, check=False)
    return done.returncode, done.stdout.splitlines()


def test_on_a_terminal_there_is_one_picture(folder: Path) -> None:
    status, got = on_a_terminal(folder, *OURS, seen=STEPS)
    assert status == 0
    assert "0 of 4 jobs" in got
    assert re.search(STEPS, got)
    assert "a stray word of 2" in got
    assert "Select jobs" not in got
    assert "12:00:00" not in got  # progress is in the picture
    assert "\x1b[?25h" in got.rpartition("3 of 4 jobs")[2]  # the cursor is there again


def test_a_job_that_fails_is_told_at_once_in_one_line(folder: Path) -> None:
    (folder / "fail").touch()
    status, got = on_a_terminal(folder, *OURS)
    assert status == 1
    assert len(re.findall(r"work_on/1 error: it ended without a word", got)) == 1
    assert "CalledProcessError" not in got


@pytest.mark.parametrize("said", ["", "on host"])
def test_a_job_that_was_killed_is_told_with_what_to_do(tmp_path: Path, said: str) -> None:
    before = f"echo {said} > {{log}}; " if said else ""
    (tmp_path / "Snakefile").write_text(
        "rule work:\n"
        "    output: 'made'\n"
        "    log: 'logs/work/made.log'\n"
        f"    shell: '{before}kill -KILL $$'\n"
    )
    status, lines = piped(tmp_path)
    [told] = [line for line in lines if "error: " in line]
    assert status == 1
    assert told.endswith("and run again") and "for want of memory" in told
    assert said in told


@pytest.mark.parametrize("columns", [1, 39, 40, 300])
def test_any_width_will_do(folder: Path, columns: int) -> None:
    status, got = on_a_terminal(folder, *OURS, columns=columns)
    assert status == 0
    assert "Traceback" not in got
    assert "live view ended" not in got


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_draw_gets_lines(folder: Path, term: str) -> None:
    status, got = on_a_terminal(folder, *OURS, TERM=term)
    assert status == 0
    assert "\x1b" not in got
    assert "work_on/2 started" in got


def test_a_view_that_breaks_ends_no_run(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(
        "from llmpi.terminal import drawn\n"
        "def broken(*_): raise ZeroDivisionError('the picture')\n"
        "drawn.drawn = broken\n"
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    ended = "the live view ended (ZeroDivisionError('the picture')); lines follow"
    status, got = on_a_terminal(folder, *OURS, seen=re.escape(ended), PYTHONPATH=path)
    assert status == 0
    assert got.count(ended) == 1
    assert "12:00:00 work_on/2 3/3 steps" in got
    assert "a stray word of 2" in got


def test_elsewhere_every_line_has_its_time_and_its_job(folder: Path) -> None:
    status, lines = piped(folder)
    assert status == 0
    others = [line for line in lines if not LINE.fullmatch(line)]
    assert others == ["Building DAG of jobs...", *(line for line in others if "stray" in line)]
    assert len(others) == 4
    for job in range(3):
        assert sum(f" work_on/{job} " in line for line in lines) == 5  # started, done, three steps


def test_a_failed_job_is_one_line_elsewhere_too(folder: Path) -> None:
    (folder / "fail").touch()
    status, lines = piped(folder)
    assert status == 1
    assert sum("work_on/1 error: " in line for line in lines) == 1
    assert "Exiting because" not in "".join(lines)


def test_snakemakes_own_output_is_in_reach(folder: Path) -> None:
    status, lines = piped(folder, "--logger-llmpi-view", "snakemake")
    assert status == 0
    assert "Select jobs to execute..." in lines
    [log] = (folder / ".snakemake/log").iterdir()
    assert "Select jobs to execute..." in log.read_text()


@pytest.mark.parametrize("asked", ["--verbose", "--printshellcmds", "--quiet"])
def test_what_is_asked_of_snakemakes_output_is_asked_of_snakemakes(
    folder: Path, asked: str
) -> None:
    own = run_snakemake("--cores", "1", "--forceall", asked, cwd=folder).stdout
    with_ours = run_snakemake("--cores", "1", "--forceall", *OURS, asked, cwd=folder).stdout
    assert len(own.splitlines()) == pytest.approx(len(with_ours.splitlines()), abs=5)


def test_a_dry_run_says_what_would_run_and_why(workdir: Path) -> None:
    said = run_snakemake("--dry-run", cwd=workdir).stdout
    assert "Fetching smollm2-135m" in said
    assert "Reason: Missing output files: results/models/smollm2-135m/manifest.json" in said


@pytest.mark.parametrize("asked", [("--lint",), ("--unlock",), ("--list-rules",)])
def test_what_runs_nothing_speaks_as_ever(workdir: Path, asked: tuple[str, ...]) -> None:
    said = run_snakemake(*asked, cwd=workdir).stdout
    own = run_snakemake(*asked, "--workflow-profile", "none", cwd=workdir).stdout
    assert own.strip()
    assert own.strip() in said


def test_a_mistake_in_the_snakefile_has_its_line(folder: Path) -> None:
    (folder / "Snakefile").write_text("rule all:\n    input: nothing_of_that_name\n")
    for status, said in (on_a_terminal(folder, *OURS), piped(folder)):
        assert status == 1
        assert "line 2" in "".join(said)
        assert "nothing_of_that_name" in "".join(said)


def test_the_default_profile_asks_for_it() -> None:
    assert "logger: llmpi" in (ROOT / "profiles/default/config.yaml").read_text()


def asked(workdir: Path) -> tuple[int, list[str]]:
    """A run of one quick job of the project's own."""
    target = ("--cores", "1", "--", "results/questions/demo/field.json")
    done = run_snakemake(*target, cwd=workdir, check=False)
    return done.returncode, done.stdout.splitlines()


def test_a_run_begins_with_what_is_to_come_and_ends_with_what_is_next(workdir: Path) -> None:
    status, lines = asked(workdir)
    assert status == 0
    assert any(line.endswith(" study/demo 1 jobs: 1 prepare_questions") for line in lines)
    assert lines[-3].startswith("Decided    nothing yet; 0 of 6 measured, 0 of 12 scored")
    assert lines[-2].startswith("Cells ")
    assert lines[-1] == "Next       the rest: snakemake --cores 4"


def test_a_run_that_failed_says_why_in_one_line_and_ends_as_any_other(workdir: Path) -> None:
    (workdir / "config/data/field_qa.json").write_text("{}")
    status, lines = asked(workdir)
    assert status == 1
    errors = [line[9:] for line in lines if " prepare_questions/demo/field error: " in line]
    assert len(set(errors)) == 1, "said again only where it was tried again"
    assert lines[-1].startswith("Next ")
    assert not any("Traceback" in line or "CalledProcessError" in line for line in lines)
