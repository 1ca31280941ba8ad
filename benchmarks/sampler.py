"""What the samplers beside a measurement cost: tg with them and without, alternating.

One engine decodes the same tokens from the same state again and again; the process that samples the
sensors and a meter (an hwmon file, ten times a second) runs all the time and is stopped (SIGSTOP)
for every other stretch, so that nothing else differs. The cost is the loss of tg in per cent: the
median over pairs of stretches in random order, since this machine's own swings are far larger.
`sampler_processor_pct` is what it takes of one processor while it runs, which no swing touches: on
a machine whose processors all compute, the cost is about that, since the engine's threads wait for
one another; where a processor is left over it is next to none.
"""

import argparse
import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.speed import demo_files
from llmpi.device.machine.sampler import sampling
from llmpi.device.records import HwmonMeter
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, Settings

PROMPT_TOKENS = 32


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler", description=__doc__)
    parser.add_argument("--pairs", type=int, default=150, help="(default: %(default)s)")
    parser.add_argument("--output-tokens", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Engine(demo_files()[0], Settings(threads=args.threads), context_tokens=512) as engine,
    ):
        source, out = Path(scratch) / "power1_input", Path(scratch) / "out"
        source.write_text("5000000\n")
        meter: HwmonMeter = {
            "kind": "hwmon",
            "accuracy_pct": None,
            "chip": "",
            "address": None,
            "shunt_ohm": None,
            "path": str(source),
            "interval_s": 0.1,
        }
        with sampling(meter, out) as sampler:
            while not out.is_file() or not out.stat().st_size:
                time.sleep(0.1)  # starting it is not what a measurement is beside
            begun_s = processor_s(sampler.pid)
            pairs = [pair_s(engine, sampler.pid, args) for _ in range(args.pairs)]
            taken_s = processor_s(sampler.pid) - begun_s
    costs = [100 * (1 - pair[False] / pair[True]) for pair in pairs]
    spread = statistics.quantiles(costs, n=4)
    print(f"quartiles of single pairs: {spread[0]:.1f}, {spread[2]:.1f} %")
    # Of a median of n values: 1.2533 standard deviations / sqrt(n), the deviation from quartiles.
    error = 1.2533 * (spread[2] - spread[0]) / 1.349 / len(costs) ** 0.5
    ran_s = sum(pair[True] for pair in pairs)
    print(f"sampler_processor_pct: {100 * taken_s / ran_s:.2f}")
    print(f"sampler_cost_pct: {statistics.median(costs):.2f}")
    print(f"standard_error_pct: {error:.2f}")


def processor_s(pid: int) -> float:
    """Seconds of processors that a process has taken, see the kernel's sched-stats.rst."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) / 1e9


def pair_s(engine: Engine, sampler: int, args: argparse.Namespace) -> dict[bool, float]:
    """Seconds of a pair of stretches: with the sampler, and without."""
    seconds = {}
    for on in random.sample((True, False), 2):
        os.kill(sampler, signal.SIGCONT if on else signal.SIGSTOP)
        seconds[on] = stretch(engine, args.output_tokens)
    os.kill(sampler, signal.SIGCONT)
    return seconds


def stretch(engine: Engine, tokens: int) -> float:
    """Seconds for so many tokens behind a prompt that is computed before."""
    engine.keep(0)
    engine.decode([1] * PROMPT_TOKENS)
    token = engine.greedy()
    start = time.perf_counter()
    for _ in range(tokens):
        engine.decode([token])
        token = engine.greedy()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
