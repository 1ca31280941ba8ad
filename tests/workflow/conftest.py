"""Dry runs happen in a folder of their own, with the project's config beside it."""

import shutil
from pathlib import Path

import pytest
from support import ROOT


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """An empty working directory with a copy of `config/`, so that relative paths hold."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path
