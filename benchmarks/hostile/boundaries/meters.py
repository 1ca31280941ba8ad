"""What meters say: logs, plugs, the firmware's tool, the kernel's files."""

import json
import logging
import os
import random
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.hostile import spoiled
from llmpi.device.commands.meter import meter as read_once
from llmpi.device.machine import environment
from llmpi.device.machine.energy import Samples, Window, energy_j, gathered
from llmpi.device.machine.meters import is_here
from llmpi.remote import requests, smart_plugs
from llmpi.remote.meter_log import read_log
from llmpi.study.meters import CsvMeter, HwmonMeter, PmicMeter, ShellyMeter, TasmotaMeter

ANSWER_S = 1.0
"""In place of a plug's own patience, to be done today."""
LOG = "time,power_w\n" + "".join(f"{at}.0,5.{at}\n" for at in range(20))
TASMOTA = {"StatusSNS": {"Time": "2026-01-01T00:00:00", "ENERGY": {"Total": 1.234, "Power": 5}}}
SHELLY = {"id": 0, "output": True, "apower": 5.1, "aenergy": {"total": 4.679}}
FIRST = {"power": 5.1, "is_valid": True, "total": 1234, "counters": [0.0, 0.0, 0.0]}
ABOUT = {"type": "SHPLG-S", "auth": False}
RAILS = (
    "   3V3_SYS_A current(1)=0.05000000A\n   3V3_SYS_V volt(9)=3.31000000V\n"
    "  VDD_CORE_A current(7)=1.20000000A\n  VDD_CORE_V volt(15)=0.75000000V\n"
)
THROTTLED = "throttled=0x50005\n"
REFUSED = "Can't open device file: /dev/vcio\n"
HEADS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=x\r\n"),
    *(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n", b"HTTP/1.1 404 No\r\n", b"HTTP/9\r\n"),
    *(b"HTTP/1.1 500 No\r\n", b"HTTP/1.1 999 \xff\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500),
    *(b"HTTP/1.1 302 No\r\nLocation: file:///etc/passwd\r\n", b"SSH-2.0-x\r\n", b""),
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
)


class Given(NamedTuple):
    kind: str
    said: bytes
    behind: bytes = b""
    """Of a plug: said for ever behind its answer."""


def inputs(draw: random.Random) -> Iterator[Given]:
    answers = {"tasmota": TASMOTA, "shelly": SHELLY, "first": FIRST}
    while True:
        kind = draw.choice(["csv", "tasmota", "shelly", "first", "pmic", "hwmon", "throttled"])
        if kind in answers:
            body = spoiled.dumped(draw, spoiled.data(draw, answers[kind]))
            head = draw.choice((HEADS[0],) * 8 + HEADS)
            length = draw.choice((len(body), len(body), len(body), 0, 10**9, -1))
            said = head + f"Content-Length: {length}\r\n\r\n".encode() + body
            yield Given(kind, said, draw.choice((b"",) * 9 + (b"x" * 65536,)))
        elif kind == "csv":
            yield Given(kind, _log(draw))
        else:
            tool = {"pmic": RAILS, "throttled": THROTTLED, "hwmon": "5000000\n"}[kind]
            sound = draw.choice((tool, tool, tool, REFUSED)).encode()
            odd = spoiled.text(draw).encode("utf-8", "surrogatepass")
            yield Given(kind, draw.choice((spoiled.bytes_(draw, sound), odd)))


def _log(draw: random.Random) -> bytes:
    lines = LOG.encode().splitlines(keepends=True)
    for _ in range(draw.randint(1, 4)):
        cells = b",".join(
            str(spoiled.value(draw, 9)).encode("utf-8", "surrogatepass") for _ in range(2)
        )
        at = draw.randrange(len(lines))
        lines[at] = draw.choice((lines[0], cells + b"\n", spoiled.bytes_(draw, lines[at])))
    return spoiled.cut(draw, b"".join(lines)) if draw.random() < 0.3 else b"".join(lines)


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    logging.disable(logging.CRITICAL)
    smart_plugs.ANSWER_S = ANSWER_S
    tool, source = folder / "bin/vcgencmd", folder / "power1_input"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat {folder}/said\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    os.environ["PATH"] = f"{tool.parent}:{os.environ['PATH']}"
    pmic = requests.meter(PmicMeter(kind="pmic"))
    hwmon = requests.meter(HwmonMeter(kind="hwmon", path=str(source)))
    assert is_here(pmic)
    assert is_here(hwmon)

    with _plug() as (url, says):

        def csv(given: Given) -> None:
            (folder / "said").write_bytes(given.said)
            path = str(folder / "said")
            rows, failures = read_log(CsvMeter(kind="csv", path=path))
            samples = gathered([(at, power, None) for at, power in rows], failures)
            if isinstance(samples, Samples):
                window = Window(samples.times[0], samples.times[-1])
                assert abs(energy_j(samples, window, by_counter=False)) < 1e300

        def plug(given: Given) -> None:
            about = ABOUT if given.kind == "first" else {"gen": 2}
            body = json.dumps(about).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            says.about, says.answer, says.behind = head + body, given.said, given.behind
            if given.kind == "tasmota":
                read = smart_plugs.open_plug(TasmotaMeter(kind="tasmota", url=url))
            else:
                read = smart_plugs.open_plug(ShellyMeter(kind="shelly", url=url))
            power_w, counter = read()
            assert abs(power_w) <= 1e5
            assert counter is None or abs(counter.joules) < float("inf")

        def firmware(given: Given) -> None:
            (folder / "said").write_bytes(given.said)
            if given.kind == "throttled":
                now = environment.conditions()
                assert bool(now["throttled"]) != bool(now.get("throttling_unseen"))
                return
            answer = read_once(pmic)
            assert "error" in answer or abs(answer["power_w"] or 0) <= 1e5

        def kernel(given: Given) -> None:
            source.write_bytes(given.said)
            answer = read_once(hwmon)
            assert "error" in answer or abs(answer["power_w"] or 0) <= 1e5

        reads = {"csv": csv, "pmic": firmware, "throttled": firmware, "hwmon": kernel}
        yield lambda given: reads.get(given.kind, plug)(given)


class _Says:
    about = answer = behind = b""


@contextmanager
def _plug() -> Iterator[tuple[str, _Says]]:
    """Its address, and what it is to say."""
    says = _Says()

    def serve(client: socket.socket) -> None:
        with client:
            try:
                asked = client.recv(65536)
                client.sendall(says.about if b"GET /shelly " in asked else says.answer)
                while says.behind and b"GET /shelly " not in asked:
                    client.sendall(says.behind)
            except OSError:
                return

    def listen() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[client], daemon=True).start()

    server: Any = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=listen, daemon=True).start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", says
