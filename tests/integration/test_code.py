"""The code behind a step is what its processes really load."""

from pathlib import Path

import loaded
import pytest

from llmpi.code import PACKAGE


def test_nothing_is_loaded_that_was_not_derived(finished) -> None:
    found = loaded.by_script(finished.folder / "loaded")
    assert {"fetch_model", "quantize_gguf", "benchmark_device", "evaluate_quality"} <= {*found}
    assert {"summarize", "recommend", "memo", "report", "provision_device"} <= {*found}
    assert {
        s: missed for s, files in found.items() if (missed := loaded.unforeseen(s, files))
    } == {}


@pytest.mark.parametrize(
    ("script", "started"),
    [
        ("benchmark_device", "device/measure/process.py"),
        ("evaluate_quality", "quality/batching/schedule.py"),
        ("provision_device", "device/machine/environment.py"),
    ],
)
def test_what_is_started_by_name_is_seen(finished, script: str, started: str) -> None:
    """The test above would notice: these are loaded in processes of their own."""
    found = loaded.by_script(finished.folder / "loaded")[script]
    assert PACKAGE / started in found


def test_a_missing_one_is_told(tmp_path: Path) -> None:
    files = {PACKAGE / "decide/choice.py", PACKAGE / "report/__init__.py", PACKAGE / "errors.py"}
    assert loaded.unforeseen("report", files) == {"decide/choice.py"}
