"""A device that answers what it should not is its own finding, beside the others' rows."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from llmpi.device.machine.environment import everything
from llmpi.remote.check import check_devices, table
from llmpi.study.devices import LocalDevice, SshDevice

HERE = LocalDevice(transport="local")


@pytest.fixture
def answering(board, tmp_path: Path):
    """A board whose Python prints what the file `answer` holds, whatever it is asked."""
    device: SshDevice = board("")
    python = tmp_path / "store/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *version_info*) echo 3 11;; *) cat {tmp_path}/answer;; esac\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return device.model_copy(update={"python": str(python)})


def looked(**changes: Any) -> str:
    """What a device tells of itself, with some of it changed."""
    return json.dumps({**everything(Path("/")), **changes})


@pytest.mark.parametrize(
    "answer",
    [
        '{"status": "ok", "workloads": {}}',
        "{}",
        "null",
        "9" * 6000,
        f'{{"machine": {"9" * 6000}}}',
        "[" * 200_000,
        "",
        "\0",
        b"\xff\xfe{}",
        looked(time_s="now"),
        looked(time_s=10**400),
        looked().replace('"time_s": ', '"time_s": NaN, "other": '),
        looked(storage={"free_bytes": -1}),
        looked(more=1),
        looked()[:-3],
        looked() + "logout",
        f"Welcome\n{looked()}",
    ],
    ids=range(17),
)
def test_words_and_the_other_rows(answering, tmp_path: Path, answer: str | bytes) -> None:
    said = answer if isinstance(answer, bytes) else answer.encode()
    (tmp_path / "answer").write_bytes(said)
    bad, good = check_devices({"bad": answering, "good": HERE})
    shown = table([bad, good])
    assert good.facts["reachable"] == "yes"
    assert "good" in shown.splitlines()[0]
    [problem] = bad.problems
    assert "store/venv/bin/python there: " in problem
    assert "llmpi broke here" not in shown
    assert len(problem) < 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"time_s": -1e308},
        {"conditions": {**everything(Path("/"))["conditions"], "temperature_c": -1e300}},
        {"storage": {"free_bytes": 10**30, "size_bytes": 0, "medium": "", "device": None}},
        {"tools": {"\x1b[2J": None}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_fits_is_shown_however_odd(answering, tmp_path: Path, changes: Any) -> None:
    (tmp_path / "answer").write_text(looked(**changes))
    bad, good = check_devices({"bad": answering, "good": HERE})
    assert "llmpi broke here" not in table([bad, good])
    assert good.facts["reachable"] == "yes"


def test_a_fault_of_our_own_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmpi.remote import check

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr(check, "_facts", broken)
    [finding] = check_devices({"here": HERE})
    assert finding.facts == {"reachable": "?"}
    assert "llmpi broke here, report it: ZeroDivisionError('of our own')" in table([finding])
