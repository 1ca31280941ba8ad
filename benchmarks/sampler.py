"""What the samplers beside a measurement cost: tg with them and without, alternating.

One engine decodes the same tokens from the same state again and again; the process that samples the
sensors and a meter (an hwmon file, ten times a second) runs all the time and is stopped (SIGSTOP)
for every other stretch, so that nothing else differs. The cost is the loss of tg in per cent: the
median over pairs of stretches in random order, since this machine's own swings are far larger.
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
            costs = [cost_pct(engine, sampler.pid, args) for _ in range(args.pairs)]
    spread = statistics.quantiles(costs, n=4)
    print(f"quartiles of single pairs: {spread[0]:.1f}, {spread[2]:.1f} %")
    # Of a median of n values: 1.2533 standard deviations / sqrt(n), the deviation from quartiles.
    error = 1.2533 * (spread[2] - spread[0]) / 1.349 / len(costs) ** 0.5
    print(f"sampler_cost_pct: {statistics.median(costs):.2f}")
    print(f"standard_error_pct: {error:.2f}")


def cost_pct(engine: Engine, sampler: int, args: argparse.Namespace) -> float:
    """Loss of tg in a pair of stretches, in per cent."""
    seconds = {}
    for on in random.sample((True, False), 2):
        os.kill(sampler, signal.SIGCONT if on else signal.SIGSTOP)
        seconds[on] = stretch(engine, args.output_tokens)
    os.kill(sampler, signal.SIGCONT)
    return 100 * (1 - seconds[False] / seconds[True])


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
