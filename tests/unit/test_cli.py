"""`llmpi` itself: light, and its errors are words."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llmpi import cli

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
    assert cli.main([*command, "--config", str(tmp_path / "none.yaml")]) == 1
    assert capsys.readouterr().err == f"llmpi: {tmp_path}/none.yaml: there is no such file\n"


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
    assert cli.main(["devices", "cancel", "--config", str(tmp_path / "study.yaml")]) == 1
    out, err = capsys.readouterr()
    assert out == "here: 0 measurements ended\n"
    assert err.startswith("llmpi: device gone: ")
    assert not job.exists()
