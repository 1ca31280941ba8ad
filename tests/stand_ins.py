"""What only a Raspberry Pi or a shelf of meters has, at its own boundary, in documented formats.

Each replays a power curve, so that the energy measured through it can be held against the truth.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PERIOD_S = 10.0
STEEPEST_W_PER_S = 3 * 2 * math.pi / PERIOD_S
"""Of the curve: by so much a reading errs for each second between its time stamp and it."""
RANGE_W = (5.0, 11.0)
HWMON_FILE = "hwmon2/power1_input"


def power_w(at: float) -> float:
    """The curve over the monotonic clock, within `RANGE_W`."""
    return 8 + 3 * math.sin(2 * math.pi * at / PERIOD_S)


def truth_j(start: float, end: float) -> float:
    """Its integral."""
    turn = 2 * math.pi / PERIOD_S
    return 8 * (end - start) - 3 / turn * (math.cos(turn * end) - math.cos(turn * start))


def off_j(seconds: float, *, late_s: float) -> float:
    """By how much an energy may be off whose readings come so much early or late."""
    return STEEPEST_W_PER_S * late_s * seconds


@dataclass
class Replay:
    """A curve that is being written."""

    late_s: float = 0.0
    """The longest that what can be read stood still: a busy machine does not keep up."""


@contextlib.contextmanager
def replaying(write: Callable[[float], None]) -> Iterator[Replay]:
    """Call a function with the monotonic time, fifty times a second."""
    end, replay = threading.Event(), Replay()

    def loop() -> None:
        last = begun
        while not end.wait(0.02):
            write(now := time.monotonic())
            last, replay.late_s = now, max(replay.late_s, time.monotonic() - last)

    write(begun := time.monotonic())
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield replay
    finally:
        end.set()
        thread.join()


def put(path: Path, text: str) -> None:
    """As the kernel's files are: whole whenever they are read."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    partial.replace(path)


@contextlib.contextmanager
def hwmon(folder: Path) -> Iterator[Replay]:
    """An INA219 in a tree as the kernel's hwmon makes it; its power file is `HWMON_FILE`."""
    chip = folder / "hwmon2"
    chip.mkdir(parents=True, exist_ok=True)
    (chip / "name").write_text("ina219\n")
    source = folder / HWMON_FILE
    with replaying(lambda at: put(source, f"{power_w(at) * 1e6:.0f}\n")) as replay:
        yield replay


@contextlib.contextmanager
def vcgencmd(
    tool: Path, rails: Path, *, rails_seen_as: str, scale: float = 1.0
) -> Iterator[Replay]:
    """The firmware's tool, whose rails carry the curve divided by `scale`, half on each of two.

    Args:
        tool: where the executable is put.
        rails: the file it prints.
        rails_seen_as: that file's path where the tool runs.
    """

    def write(at: float) -> None:
        half_w = power_w(at) / scale / 2
        put(
            rails,
            f"   3V3_SYS_A current(1)={half_w / 3.3:.8f}A\n"
            f"  VDD_CORE_A current(7)={half_w / 0.75:.8f}A\n"
            "     EXT5V_V volt(24)=5.15000000V\n"
            "   3V3_SYS_V volt(9)=3.30000000V\n"
            "  VDD_CORE_V volt(15)=0.75000000V\n"
            "      BATT_V volt(25)=0.00000000V\n",
        )

    rails.parent.mkdir(parents=True, exist_ok=True)
    tool.parent.mkdir(parents=True, exist_ok=True)
    tool.write_text(
        f'#!/bin/sh\ncase "$1" in pmic_read_adc) cat "{rails_seen_as}";; '
        'get_throttled) echo throttled=0x50000;; measure_temp) echo "temp=48.3\'C";; '
        'measure_clock) echo "frequency(0)=2400000000";; esac\n'
    )
    tool.chmod(0o755)
    with replaying(write) as replay:
        yield replay


USER, PASSWORD = "admin", "joker & co"


@contextlib.contextmanager
def plugs(
    *,
    port: int = 0,
    load: float = 1.0,
    shows: float = 1.0,
    password: str | None = None,
    channels: int = 1,
    first_generation: bool = False,
    drops: Callable[[int], bool] = lambda _: False,
) -> Iterator[str]:
    """The two smart plugs' HTTP endpoints; their common address.

    Args:
        port: on loopback; by default one that is free.
        load: so many times the curve hangs on the plug.
        shows: the power is shown so many times too large; the counter is right.
        password: whom it lets in: `USER` with this.
        channels: how many it has; the load hangs on the last.
        first_generation: the Shelly is one of it.
        drops: whether an answer is dropped, by its number.
    """
    begun, last, count, nonce = time.monotonic(), channels - 1, itertools.count(), "1f2e3d"

    def basic(given: str) -> bool:
        return given == f"Basic {base64.b64encode(f'{USER}:{password}'.encode()).decode()}"

    def digest(given: str, path: str) -> bool:
        """RFC 7616, SHA-256, as Shelly's documentation describes it."""
        said = dict(re.findall(r'(\w+)="?([^",]+)"?', given.partition(" ")[2]))
        if said.get("nonce") != nonce or said.get("uri") != path:
            return False
        hashed = lambda text: hashlib.sha256(text.encode()).hexdigest()  # noqa: E731
        first = hashed(f"{USER}:shellyplus:{password}")
        parts = [first, nonce, said["nc"], said["cnonce"], said["qop"], hashed(f"GET:{path}")]
        return said["response"] == hashed(":".join(parts))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/shelly":
                named = {"type": "SHPLG-S"} if first_generation else {"id": "s", "gen": 2}
                self.answer({**named, "auth": password is not None})
                return
            if drops(next(count)):
                self.close_connection = True
                return
            now = time.monotonic()
            watts, wh = shows * load * power_w(now), load * truth_j(begun, now) / 3600
            asked = urlsplit(self.path)
            query = dict(parse_qsl(asked.query))
            if asked.path == "/cm" and query.get("cmnd") == "Status 10":
                # https://tasmota.github.io/docs/Commands/#with-web-requests
                if password is not None and (query.get("user"), query.get("password")) != (
                    USER,
                    password,
                ):
                    self.answer({"WARNING": "Need user=<username>&password=<password>"}, 401)
                    return
                # Tasmota shows whole watts, and kWh with three digits.
                total = round(1.234 + wh / 1000, 3)
                power = [0] * last + [round(watts)] if last else round(watts)
                energy = {"Total": total, "Power": power, "Voltage": 230}
                self.answer({"StatusSNS": {"Time": "2026-01-01T00:00:00", "ENERGY": energy}})
            elif first_generation and asked.path.startswith("/meter/"):
                # https://shelly-api-docs.shelly.cloud/gen1/#shelly-plug-plugs-meter-0
                if password is not None and not basic(self.headers.get("Authorization", "")):
                    self.challenge('Basic realm="shelly"')
                elif asked.path == f"/meter/{last}":
                    minutes = {"total": int(1234 + wh * 60), "counters": [0.0, 0.0, 0.0]}
                    self.answer({"power": round(watts, 2), "is_valid": True, **minutes})
                else:
                    self.send_error(404)
            elif not first_generation and asked.path == "/rpc/Switch.GetStatus":
                # https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/Switch
                if password is not None and not digest(
                    self.headers.get("Authorization", ""), self.path
                ):
                    self.challenge(
                        f'Digest qop="auth", realm="shellyplus", nonce="{nonce}", algorithm=SHA-256'
                    )
                elif query["id"] == str(last):
                    counted = {"total": round(4.679 + wh, 3), "by_minute": [0.0, 0.0, 0.0]}
                    self.answer({"id": last, "apower": round(watts, 1), "aenergy": counted})
                else:
                    self.answer({"code": -105, "message": "Argument 'id' not found!"}, 500)
            else:
                self.send_error(404)

        def challenge(self, how: str) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", how)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, content: Any, status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
