"""For several unit tests."""

from pathlib import Path

import pytest
import small_results


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of `small_results`, below the working directory."""
    monkeypatch.chdir(tmp_path)
    small_results.write_results()
