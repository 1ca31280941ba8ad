"""What the sensors say goes with the lines that say how far a measurement is."""

import json
from pathlib import Path

import pytest

from llmpi.device.machine.sampler import felt
from llmpi.device.measure.session import _with_sensors


def samples(path: Path, *found: dict[str, object]) -> Path:
    lines = ["{}", *map(json.dumps, found)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], ""),
        ([{"t": 1, "c": None}], ""),
        ([{"t": 1, "c": 61.23}], ", 61.2 °C"),
        ([{"t": 1, "p": 4.86}, {"t": 2, "c": 61.0}, {"t": 3}], ", 61.0 °C, 4.9 W"),
        ([{"t": 1, "c": 50.0}, {"t": 2, "c": 51.0, "error": "gone"}], ", 51.0 °C"),
    ],
)
def test_the_last_that_is_known(tmp_path: Path, found: list, told: str) -> None:
    assert felt(samples(tmp_path / "samples", *found)) == told


def test_no_samples_are_no_words(tmp_path: Path) -> None:
    assert felt(tmp_path / "none") == ""
    (tmp_path / "cut").write_text('{}\n{"t": 1, "c": 6\n')
    assert felt(tmp_path / "cut") == ""


def test_only_steps_say_it(tmp_path: Path) -> None:
    heard: list[str] = []
    say = _with_sensors(heard.append, samples(tmp_path / "samples", {"t": 1, "c": 40.0}))
    for line in ("llmpi: loaded", "llmpi: [1/5] chat: pp 2 t/s", "1/5 of the engine's own"):
        say(line)
    assert heard[0] == "llmpi: loaded"
    assert heard[1] == "llmpi: [1/5] chat: pp 2 t/s, 40.0 °C"
