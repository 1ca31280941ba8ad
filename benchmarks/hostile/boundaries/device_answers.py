"""What a device says, whatever it is asked: JSON that is none, noise, floods, silence."""

import json
import logging
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.hostile import spoiled
from llmpi.device.durable import look
from llmpi.device.machine import environment
from llmpi.device.records import SessionAnswer
from llmpi.engine import info
from llmpi.engine.records import Predicted, Turns
from llmpi.operate import device_releases, host
from llmpi.remote import check, detached, provision, shell
from llmpi.remote.benchmark import SESSION
from llmpi.remote.connection import ThisMachine
from llmpi.remote.deploy import put_model
from llmpi.remote.machine import Device, Done
from llmpi.remote.plugs import Timeline
from llmpi.study.devices import LocalDevice, SshDevice
from llmpi.study.meters import HwmonMeter

PATIENCE_S = 60.0
SILENCE_S = 3.0
"""In place of a command's own patience, to be done today."""
FLOOD = 1 << 18

THERE = {
    "path": "/store/models/m/Q4_0.gguf",
    "here": False,
    "partial": "/store/models/m/.Q4_0.gguf.part",
    "there": 0,
    "removed": [],
}
CONDITIONS = environment.conditions()
RELEASES = {"answer": {"current": "a", "previous": None, "releases": ["a"]}}
FAILED = {"status": "failed", "stage": "benchmark", "reason": "the engine died", "log_tail": ""}
POLLED = {"state": "done", "log": "llmpi: a\n", "offset": 9, "time_s": 1.5, "record": None}
TURNS = {"status": "ok", "turns": [], "before": CONDITIONS, "after": CONDITIONS, "took_s": 1.0}
UNIT = "ActiveState=active\nSubState=running\nNRestarts=0\nMemoryCurrent=1234\n"


class Given(NamedTuple):
    asks: str
    said: bytes
    status: int
    ends: str
    """How it ends: `at once`, `never`, or `floods`."""


def sound() -> dict[str, Any]:
    """For each thing that is asked what a board would say."""
    where = {"machine": environment.machine(), "engine": info.describe()}
    failed = {**FAILED, "environment": where, "workloads": {}}
    return {
        "look": environment.everything(Path("/")),
        "installed": look(Path("/nowhere")),
        "describe": where,
        "job": {**POLLED, "record": json.dumps(failed)},
        "model": THERE,
        "releases": RELEASES,
        "predict": FAILED,
        "turns": TURNS,
        "meter": {"power_w": 5.0, "counter_j": None},
        "unit": UNIT,
        "check": environment.everything(Path("/")),
    }


def inputs(draw: random.Random) -> Iterator[Given]:
    answers = sound()
    while True:
        asks = draw.choice(list(answers))
        answer = answers[asks]
        if isinstance(answer, str):
            said = spoiled.bytes_(draw, answer.encode())
        else:
            if asks == "job" and draw.random() < 0.5:
                record = spoiled.dumped(draw, spoiled.data(draw, json.loads(answer["record"])))
                answer = {**answer, "record": record.decode(errors="replace")}
            else:
                answer = spoiled.data(draw, answer)
            said = spoiled.dumped(draw, answer)
        noise = spoiled.text(draw).encode("utf-8", "surrogatepass")
        said = draw.choice((said, said, said, noise + said, said + noise, noise))
        ends = draw.choice(("at once",) * 12 + ("never", "floods"))
        yield Given(asks, said, draw.choice((0, 0, 0, 1, 137, 255)), ends)


class Board(ThisMachine):
    """Runs nothing of what it is told: it says what the script says."""

    def __init__(self, script: Path) -> None:
        super().__init__("pi", LocalDevice(transport="local", store=str(script.parent / "store")))
        self.script = self.python = str(script)

    def _start(self, argv: Sequence[str], **options: Any) -> Any:
        marked = [*argv[:4], self.script, *argv[4:]]  # what stands behind the marks' own shell
        return super()._start(marked, **options)

    def run(self, argv: Sequence[str], **options: Any) -> Done:
        return super().run(argv, **{**options, "timeout_s": SILENCE_S})

    def send(self, source: Path, partial: str, there: int) -> int:  # noqa: ARG002 - sends nothing
        return source.stat().st_size


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    logging.disable(logging.CRITICAL)
    script, answer, gguf = folder / "python", folder / "answer", folder / "m.gguf"
    gguf.write_bytes(b"GGUF")
    board = Board(script)
    pi = SshDevice(transport="ssh", host="pi", reconnect_s=0, connect_timeout_s=1)
    shell.MOST_CHARACTERS = shell.MOST_OF_THE_SHELL = shell.MOST_OF_THE_LOG = FLOOD

    @contextmanager
    def connected(*_: object) -> Iterator[Device]:
        yield board

    for module in (detached, check):
        module.connected = connected  # type: ignore[attr-defined]

    asked_for: Any = {}  # a device answers whatever it is asked

    def job() -> None:
        there = detached.detached("pi", pi, SESSION, asked_for, SessionAnswer, "k", Timeline())
        with there:
            pass

    def model() -> None:
        put_model(board, gguf, "m/Q4_0.gguf", "0" * 64, None)

    def checked() -> None:
        found = check.check_device("pi", pi.model_copy(update={"meter": meter}))
        assert "broke" not in check.table([found]), found.problems

    meter = HwmonMeter(kind="hwmon")
    asked: dict[str, Callable[[], object]] = {
        "look": lambda: provision.probe(board),
        "installed": lambda: provision.installed(board),
        "describe": lambda: provision.processor_of(provision.probe(board)["machine"]),
        "job": job,
        "model": model,
        "releases": lambda: device_releases.state(board),
        "predict": lambda: board.ask("predict", {}, Predicted),
        "turns": lambda: board.ask("take_turns", {}, Turns),
        "meter": lambda: check._meter(board, meter, installed=True),
        "unit": lambda: host.unit_state(board, "llmpi.service"),
        "check": checked,
    }
    ends = {"at once": "", "never": "; exec sleep 1000", "floods": "; exec yes"}

    def receive(given: Given) -> None:
        answer.write_bytes(given.said)
        script.write_text(
            '#!/bin/sh\ncase "$*" in *version_info*) echo 3 11; exit;; esac\n'
            f"cat '{answer}'{ends[given.ends]}\nexit {given.status}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        asked[given.asks]()

    yield receive
