"""`llmpi` itself: light, and its errors are words."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llmpi import cli
from llmpi.device import cli as device_cli
from llmpi.device.commands import OPERATING

HEAVY = {"altair", "datasets", "fabric", "huggingface_hub", "llama_cpp", "numpy", "optuna", "typst"}
COMMANDS = (
    ["check"],
    ["lock"],
    ["report"],
    ["plan"],
    ["status"],
    ["devices", "check"],
    ["service", "status"],
    ["monitor", "expect", "--device", "d", "--model", "m", "--quant", "F16", "--out", "o"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_config_that_is_not_there_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "--configfile", str(tmp_path / "none.yaml")]) == 1
    assert capsys.readouterr().err == f"llmpi: {tmp_path}/none.yaml: there is no such file\n"


@pytest.mark.parametrize("command", ["check", "plan", "status"])
def test_a_reader_who_has_seen_enough_is_no_error(command: str) -> None:
    """As `| head` is, be it gone before anything was printed."""
    gone, out = os.pipe()
    os.close(gone)
    done = subprocess.run(
        [sys.executable, "-m", "llmpi.cli", command], stdout=out, stderr=subprocess.PIPE, text=True
    )
    os.close(out)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "dashboard.json"
    assert cli.main(["monitor", "dashboard", "--out", str(out)]) == 1
    assert "Traceback" not in (said := capsys.readouterr().err)
    assert str(tmp_path / "file") in said


def test_help_waits_for_no_command() -> None:
    code = f"import sys, llmpi.cli; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.fault(
    "a device gone when all are cancelled", by="jobs that are left on the other: none"
)
def test_cancel_ends_what_runs_on_the_others_where_one_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = {
        "study": "small",
        "models": {"m": {"source": {"path": str(tmp_path / "m.gguf")}}},
        "quants": ["F16"],
        "devices": {
            "gone": {"transport": "ssh", "host": "127.0.0.1", "port": 1, "connect_timeout_s": 2},
            "here": {"transport": "local", "store": str(tmp_path / "store")},
        },
        "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8}},
    }
    (tmp_path / "m.gguf").touch()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    job = tmp_path / "store/jobs/torn"
    job.mkdir(parents=True)
    (job / "runner.json").touch()
    assert cli.main(["devices", "cancel", "--configfile", str(tmp_path / "study.yaml")]) == 1
    out, err = capsys.readouterr()
    assert out == "here: measurements ended: 0\n"
    assert err.startswith("llmpi: device gone: ")
    assert not job.exists()


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands, theirs too."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


WITH_HELP = {p.prog: p for p in (*parsers(cli.arguments()), *parsers(device_cli._parser(asked="")))}
OF_A_SERVICE = {f"llmpi-device {name}" for name in OPERATING}


@pytest.mark.parametrize("prog", sorted({*WITH_HELP} - OF_A_SERVICE))
def test_help_says_what_and_shows_an_example_that_is_taken(prog: str) -> None:
    said = WITH_HELP[prog].format_help()
    example = told(said, prog)
    program, *arguments = shlex.split(example.replace('"$(cat request.json)"', "{}"))
    whole = {"llmpi": cli.arguments(), "llmpi-device": device_cli._parser(asked="")}[program]
    whole.parse_args(arguments)


@pytest.mark.parametrize("prog", sorted(OF_A_SERVICE))
def test_help_of_what_looks_after_a_service(prog: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        device_cli.main([prog.split()[1], "--help"])
    assert ended.value.code == 0
    told(capsys.readouterr().out, prog)


def told(said: str, prog: str) -> str:
    """The example of a help text, which says of the command what it does, in two lines or more."""
    usage, about, *_, last = said.strip().split("\n\n")
    assert usage.startswith(f"usage: {prog} ")
    assert len(about.splitlines()) >= 2
    assert last.startswith(f"Example: {prog.split()[0]} ")
    return last.removeprefix("Example: ")


@pytest.mark.parametrize("flag", ["--configfile", "--config"])
def test_the_flag_of_snakemake_and_the_older_one_name_the_study(flag: str) -> None:
    args = cli.arguments().parse_args(["plan", flag, "other.yaml"])
    assert args.config == Path("other.yaml")
