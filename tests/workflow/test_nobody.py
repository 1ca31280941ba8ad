"""A user id without a passwd entry, as containers give it."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from llmpi.remote.connection import connected
from llmpi.study.devices import LocalDevice
from llmpi.user import user_name

NOBODY = """
import pwd
def getpwuid(uid): raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = getpwuid
"""
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_a_local_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwuid(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert user_name() == str(os.getuid())
    here = LocalDevice.model_validate({"transport": "local", "store": str(tmp_path)})
    with connected("here", here) as device:
        assert device.run(["echo", "hello"]).stdout == "hello\n"


def test_a_locale_that_is_not_utf_8(tmp_path: Path) -> None:
    """A config with Japanese in it, under a locale that knows ASCII alone."""
    text = (ROOT / "config/config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(f"# 東京\n{text}", encoding="utf-8")
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (
        ["snakemake", "--dry-run", "--quiet", "all", "--configfile", tmp_path / "config.yaml"],
        ["llmpi.cli", "check", "--configfile", tmp_path / "config.yaml"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **ascii_alone},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")


def test_a_dry_run(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOBODY)
    env = {name: value for name, value in os.environ.items() if name not in NAMES}
    path = os.pathsep.join([str(tmp_path), *filter(None, [env.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all"],
        cwd=ROOT,
        env={**env, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
