"""What an idle monitor beside a service costs: tg with it and without, alternating.

One engine decodes the same tokens from the same state again and again. `llmpi-device monitor` reads
a meter (an hwmon file) every five seconds and is scraped once in every stretch; for every other
stretch it is stopped (SIGSTOP), so that nothing else differs. A stretch takes about a second, where
Prometheus scrapes every fifteen by default, so that the loss is an upper bound. No canary runs
meanwhile. The cost is the loss of tg in per cent, the median over pairs of stretches in random
order; beside it the processor time of a scrape, which no neighbour disturbs.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.sampler import stretch
from benchmarks.speed import demo_files
from llmpi.device.monitor.config import Canary, Config
from llmpi.device.monitor.records import Expected
from llmpi.device.records import HwmonMeter
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, Settings

SCRAPE_INTERVAL_S = 15
NOBODY = "http://127.0.0.1:9"  # discard: no service answers the one canary at the start
EXPECTED: Expected = {
    "prefixes": [{"prompt": "a", "next": "b", "margin_nats": 1.0}],
    "questions": [{"id": "a", "prompt": "a", "golds": [], "answer": "", "margin_nats": 1.0}],
    "max_new_tokens": 1,
    "language": "en",
    "speed": {"prompt": "a", "prompt_tokens": 1, "output_tokens": 1},
    "limits": {"f1_at_least_pct": 0.0, "top1_at_least_pct": 0.0, "tg_at_least_tps": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("--pairs", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--output-tokens", type=int, default=128, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Engine(demo_files()[0], Settings(threads=args.threads), context_tokens=512) as engine,
        monitoring(Path(scratch)) as (monitor, port),
    ):
        before_s, costs, seconds = cpu_s(monitor), [], []
        for _ in range(args.pairs):
            taken = pair(engine, monitor, port, args.output_tokens)
            costs.append(100 * (1 - taken[False] / taken[True]))
            seconds.append(taken[True])
        spent_s = (cpu_s(monitor) - before_s) / args.pairs
    spread = statistics.quantiles(costs, n=4)
    print(f"quartiles of single pairs: {spread[0]:.1f}, {spread[2]:.1f} %")
    print(f"scraped every {statistics.median(seconds):.1f} s")
    print(f"scrape_cpu_ms: {1000 * spent_s:.1f}")
    print(f"cpu_pct_at_15_s: {100 * spent_s / SCRAPE_INTERVAL_S:.3f}")
    # Of a median of n values: 1.2533 standard deviations / sqrt(n), the deviation from quartiles.
    error = 1.2533 * (spread[2] - spread[0]) / 1.349 / len(costs) ** 0.5
    print(f"monitor_cost_pct: {statistics.median(costs):.2f}")
    print(f"standard_error_pct: {error:.2f}")


@contextmanager
def monitoring(folder: Path) -> Iterator[tuple[int, int]]:
    """A monitor as it runs on a device; its process id and port."""
    source, expect, config = (folder / name for name in ("power1_input", "expect", "config"))
    source.write_text("5000000\n")
    expect.write_text(json.dumps(EXPECTED))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meter: HwmonMeter = {
        "kind": "hwmon",
        "chip": "ina219",
        "address": None,
        "shunt_ohm": None,
        "path": str(source),
        "interval_s": 0.1,
        "accuracy_pct": None,
    }
    monitor = Config(
        device="x",
        model="x",
        quant="x",
        release="x",
        store=str(folder),
        listen=f"127.0.0.1:{port}",
        meter=meter,
        canary=Canary(NOBODY, expect=str(expect), interval_s=1e6),
    )
    config.write_text(json.dumps(asdict(monitor)))
    command = [sys.executable, "-m", "llmpi.device.cli", "monitor", "--config", str(config)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                scrape(port)
                break
            except ConnectionRefusedError:
                time.sleep(0.1)  # starting it is not what a service is beside
        yield child.pid, port
    finally:
        child.kill()
        child.wait()


def pair(engine: Engine, monitor: int, port: int, tokens: int) -> dict[bool, float]:
    """Seconds of a stretch with the monitor, scraped once, and of one without."""
    seconds = {}
    for on in random.sample((True, False), 2):
        os.kill(monitor, signal.SIGCONT if on else signal.SIGSTOP)
        asking = threading.Thread(target=scrape, args=(port,))
        if on:
            asking.start()
        seconds[on] = stretch(engine, tokens)
        if on:
            asking.join()
    os.kill(monitor, signal.SIGCONT)
    return seconds


def scrape(port: int) -> bytes:
    """The metrics, by as little code of our own as may be."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return b"".join(iter(lambda: link.recv(65536), b""))


def cpu_s(process: int) -> float:
    """Processor time of a process and the children it waited for (/proc/PID/stat)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
