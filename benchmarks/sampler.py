"""What the samplers beside a measurement cost: tg with them and without, alternating.

The sensors and a meter (an hwmon file, read ten times a second) run as in a real measurement. The
cost is the loss of tg in per cent, the median over paired rounds.
"""

import argparse
import os
import statistics
import tempfile
from contextlib import nullcontext
from pathlib import Path

from benchmarks.ours import repetitions
from benchmarks.speed import demo_files
from llmpi.device.sampler import sampling


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--output-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    gguf = demo_files()[0]
    costs = []
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "power1_input"
        source.write_text("5000000\n")
        meter = {"kind": "hwmon", "path": str(source), "interval_s": 0.1}
        for i in range(args.rounds):
            rates = {}
            for on in (True, False) if i % 2 else (False, True):
                samples = sampling(meter, Path(scratch) / "out") if on else nullcontext()
                with samples:
                    rates[on] = tg(gguf, args)
            costs.append(100 * (1 - rates[True] / rates[False]))
            print(
                f"round {i + 1}: on {rates[True]:.1f}, off {rates[False]:.1f} tokens/s", flush=True
            )
    print(f"sampler_cost_pct: {statistics.median(costs):.2f}")


def tg(gguf: Path, args: argparse.Namespace) -> float:
    """Median tokens per second over the repetitions of one measurement."""
    done = repetitions(
        gguf,
        args.threads,
        prompt_tokens=32,
        output_tokens=args.output_tokens,
        repetitions=4,
        warmup_limit=1,
    )
    return statistics.median(len(r["itl_s"]) / sum(r["itl_s"]) for r in done)


if __name__ == "__main__":
    main()
