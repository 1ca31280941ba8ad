"""Whatever a device answers: it fits its type, or the error names device, command and field."""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpi.device.records import Polled, SessionAnswer
from llmpi.errors import LlmpiError
from llmpi.records import RecordError
from llmpi.remote import detached
from llmpi.remote.benchmark import SESSION
from llmpi.remote.connection import ThisMachine
from llmpi.remote.machine import Device
from llmpi.remote.plugs import Timeline
from llmpi.study.devices import LocalDevice, SshDevice

POLLED: Polled = {"state": "running", "log": "", "offset": 0, "time_s": 1.5, "record": None}


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that answers each command with what the file of its name says."""
    script = 'cat "$0/$1"'
    said = property(lambda _: ["sh", "-c", script, str(tmp_path)])
    monkeypatch.setattr(ThisMachine, "llmpi_device", said)
    return ThisMachine("pi", LocalDevice(transport="local", store=str(tmp_path / "store")))


def polled(pi: Device, tmp_path: Path, text: str) -> Polled:
    (tmp_path / "poll").write_text(text)
    return pi.ask("poll", {"folder": "x", "offset": 0}, Polled)


def test_what_fits_is_taken(pi: Device, tmp_path: Path) -> None:
    assert polled(pi, tmp_path, json.dumps(POLLED) + "\n") == POLLED


DIGITS = "9" * 6000
WHOLE = json.dumps(POLLED)


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ("{}", "state: Field required"),
        ("[]", "as a whole: Input should be an object"),
        ("", "as a whole: Invalid JSON"),
        ("null", "as a whole"),
        (WHOLE.replace("1.5", DIGITS), "time_s"),
        (WHOLE.replace("1.5", f"1e{DIGITS}"), "time_s"),
        (WHOLE.replace('"offset": 0', f'"offset": {DIGITS}.5'), "offset"),
        (WHOLE.replace('"offset": 0', f'"offset": {DIGITS}'), "offset"),
        (WHOLE.replace("1.5", "NaN"), "time_s: Input should be a finite number"),
        (WHOLE.replace("1.5", "-Infinity"), "time_s: Input should be a finite number"),
        (WHOLE.replace("1.5", '"1.5"'), "time_s"),
        (WHOLE.replace("1.5", "null"), "time_s"),
        (WHOLE.replace("running", "sleeping"), "state"),
        (WHOLE.replace("}", ', "more": 1}'), "more: Extra inputs are not permitted"),
        (WHOLE[:40], "as a whole: Invalid JSON"),
        (f"Welcome to Debian!\n{WHOLE}", "as a whole: Invalid JSON"),
        (f"{WHOLE}\nlogout", "as a whole: Invalid JSON"),
        ("[" * 100_000, "as a whole: Invalid JSON"),
    ],
)
def test_what_does_not_is_named(pi: Device, tmp_path: Path, answer: str, field: str) -> None:
    with pytest.raises(RecordError) as caught:
        polled(pi, tmp_path, answer)
    said = str(caught.value)
    assert said.startswith("device pi: llmpi-device poll: ")
    assert field in said
    assert len(said) < 500, "the answer is cut short"


def test_bytes_that_are_no_text(pi: Device, tmp_path: Path) -> None:
    (tmp_path / "poll").write_bytes(b'{"state": "\xff\xfe"}')
    with pytest.raises(LlmpiError, match="device pi"):
        pi.ask("poll", {}, Polled)


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"status": "ok"}, "settings: Field required"),
        ({"status": "failed", "stage": "benchmark"}, "reason: Field required"),
        ({"status": "failed", "stage": "benchmark", "reason": math.nan}, "reason"),
        ([], "as a whole"),
    ],
)
def test_a_detached_measurements_record_is_checked(
    pi: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: object, field: str
) -> None:
    @contextlib.contextmanager
    def connected(name: str, device: SshDevice) -> Iterator[Device]:
        yield pi

    done = {**POLLED, "state": "done", "record": json.dumps(record)}
    answers = {"start": {"state": "done"}, "poll": done, "forget": {}}
    for command, answer in answers.items():
        (tmp_path / command).write_text(json.dumps(answer))
    monkeypatch.setattr(detached, "connected", connected)
    asked = SshDevice(transport="ssh", host="pi")
    there = detached.detached("pi", asked, SESSION, {}, SessionAnswer, "key", Timeline())
    with pytest.raises(RecordError) as caught, there:
        pass
    assert str(caught.value).startswith("device pi: the record of its measurement: ")
    assert field in str(caught.value)
