"""Our conversations side by side against llama-batched-bench: same sources, file and threads.

Aggregate tg, ours / llama-batched-bench, medians over paired rounds (A B B A), in both ways of
having a prompt: one that all share, stored once, and one for each conversation, for which the peer
keeps a cache of its own each. What the batch gains is printed too: 8 conversations to 1.
"""

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ours import levels
from benchmarks.peer import tool
from benchmarks.speed import demo_files

Rates = dict[tuple[str, int], float]
"""(shared or own, conversations) -> tokens per second of all of them together."""
PROMPTS = ("shared", "own")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="pairs (default: %(default)s)")
    parser.add_argument("--conversations", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3, help="within each turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    tool("llama-batched-bench")
    found: dict[str, float] = {}
    for gguf in demo_files():
        found |= compare(gguf, args)
    for name, value in found.items():
        print(f"{name}: {value:.3f}")
    most = max(args.conversations)
    worst = min(value for name, value in found.items() if name.startswith(f"tg{most}_ratio"))
    print(f"tg{most}_ratio: {worst:.3f}")


def compare(gguf: Path, args: argparse.Namespace) -> dict[str, float]:
    """Ratios of one file, and what the largest number of conversations gains over one."""
    name, most = gguf.stem.lower(), max(args.conversations)
    rounds: list[tuple[Rates, Rates]] = []
    for i in range(args.rounds):
        if i % 2:
            theirs, our = peer(gguf, args), ours(gguf, args)
        else:
            our, theirs = ours(gguf, args), peer(gguf, args)
        rounds.append((our, theirs))
        for prompt in PROMPTS:
            shown = (
                f"{n}: {our[prompt, n]:.0f} / {theirs[prompt, n]:.0f}" for n in args.conversations
            )
            print(f"{name}: round {i + 1}, {prompt} prompt: {', '.join(shown)} t/s", flush=True)
    found = {}
    for prompt in PROMPTS:
        for n in args.conversations:
            ratios = [our[prompt, n] / theirs[prompt, n] for our, theirs in rounds]
            found[f"tg{n}_ratio_{prompt}_{name}"] = statistics.median(ratios)
        for who, index in (("gain", 0), ("peer_gain", 1)):
            gains = [r[index][prompt, most] / r[index][prompt, 1] for r in rounds]
            found[f"{who}{most}_{prompt}_{name}"] = statistics.median(gains)
    return found


def ours(gguf: Path, args: argparse.Namespace) -> Rates:
    """As the product measures, without sampling, since the peer samples nothing."""
    rates = {}
    for prompt, system in zip(PROMPTS, (args.prompt_tokens - 1, 0), strict=True):
        found = levels(
            gguf,
            args.threads,
            conversations=args.conversations,
            system_tokens=system,
            prompt_tokens=args.prompt_tokens - system,
            output_tokens=args.output_tokens,
            repetitions=args.repetitions,
            warmup_limit=1,
            sampling="none",
        )
        for level in found:
            count = level["conversations"]
            seconds = [sum(repetition["itl_s"]) for repetition in level["repetitions"]]
            rates[prompt, count] = statistics.median(
                count * args.output_tokens / s for s in seconds
            )
    return rates


def peer(gguf: Path, args: argparse.Namespace) -> Rates:
    """The same numbers of conversations in turns, behind prompts of the same length."""
    room = max(args.conversations) * (args.prompt_tokens + args.output_tokens)
    counts = ",".join(map(str, args.conversations * args.repetitions))
    command = [str(tool("llama-batched-bench")), "-m", str(gguf), "-c", str(room), "-npl", counts]
    command += ["-npp", str(args.prompt_tokens), "-ntg", str(args.output_tokens)]
    command += ["-t", str(args.threads), "-tb", str(args.threads), "--output-format", "jsonl"]
    return {
        (prompt, n): statistics.median(values)
        for prompt, flags in zip(PROMPTS, (["-pps", "--kv-unified"], []), strict=True)
        for n, values in _speeds([*command, *flags]).items()
    }


def _speeds(command: Sequence[str]) -> dict[int, list[float]]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"llama-batched-bench failed ({done.returncode}): {done.stderr[-2000:]}")
    speeds: dict[int, list[float]] = {}
    for line in (line for line in done.stdout.splitlines() if line.startswith("{")):
        row = json.loads(line)
        speeds.setdefault(row["pl"], []).append(row["speed_tg"])
    return speeds


if __name__ == "__main__":
    main()
