"""A conversation's later turns against its first: the prefix kept, restored, or computed again.

Seconds to the first token, medians over paired rounds (A B B A), as the product measures them; the
peer is llama-server, built from the engine's own sources, with its prefix cache, on the same tokens
and lengths, clocked by its own counters: from the first token of the prompt that it computes.
"""

import argparse
import json
import os
import statistics
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ours import prefixes
from benchmarks.quality import server
from benchmarks.speed import demo_files
from llmpi.device.measure.single import fixed_tokens
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Model, Settings

Turns = list[float]
"""Seconds to the first token, of each turn."""
PEER = "llama_server"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="pairs (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--system-tokens", type=int, default=512)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--output-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    found: dict[str, float] = {}
    for gguf in demo_files():
        found |= compare(gguf, args)
    for name, value in found.items():
        print(f"{name}: {value:.3f}")


def compare(gguf: Path, args: argparse.Namespace) -> dict[str, float]:
    """Of one file."""
    name = gguf.stem.lower()
    rounds: list[dict[str, Turns]] = []
    for i in range(args.rounds):
        first, second = (peer, ours) if i % 2 else (ours, peer)
        rounds.append({**first(gguf, args), **second(gguf, args)})
        for who, turns in rounds[-1].items():
            shown = ", ".join(f"{seconds:.3f}" for seconds in turns)
            print(f"{name}: round {i + 1}, {who}: {shown} s", flush=True)
    found = {}
    for who in rounds[0]:
        ratios = [statistics.median(one[who][1:]) / one[who][0] for one in rounds]
        found[f"later_to_first_{who}_{name}"] = statistics.median(ratios)
    later = [{who: statistics.median(turns[1:]) for who, turns in one.items()} for one in rounds]
    against = [one["kept"] / one[PEER] for one in later]
    found[f"kept_to_{PEER}_{name}"] = statistics.median(against)
    return found


def ours(gguf: Path, args: argparse.Namespace) -> dict[str, Turns]:
    """By what is done with the prefix."""
    parts = prefixes(
        gguf,
        args.threads,
        system_tokens=args.system_tokens,
        turns=args.turns,
        prompt_tokens=args.prompt_tokens,
        output_tokens=args.output_tokens,
        repetitions=1,
        warmup_limit=1,
    )
    return {
        part["prefix"]: [turn["ttft_s"] for turn in part["repetitions"][0]["turns"]]
        for part in parts
    }


def peer(gguf: Path, args: argparse.Namespace) -> dict[str, Turns]:
    with Model(gguf, Settings(threads=1)) as model:
        questions = list(_questions(model.vocab_tokens, args))
    with server(gguf, 1, args) as url:
        _ask(url, questions[-1], args)  # another prompt, to warm it up
        said: list[int] = []
        turns = []
        for question in questions:
            said += question
            answer, seconds = _ask(url, said, args)
            said += answer
            turns.append(seconds)
    return {PEER: turns}


def _questions(vocab_tokens: int, args: argparse.Namespace) -> Iterator[list[int]]:
    for turn in range(args.turns):
        system = [] if turn else fixed_tokens(vocab_tokens, args.system_tokens, seed=2)
        yield system + fixed_tokens(vocab_tokens, args.prompt_tokens, seed=3 + turn)


def _ask(url: str, prompt: list[int], args: argparse.Namespace) -> tuple[list[int], float]:
    """The answer, and its own seconds of the prompt that it had not computed before."""
    asked = {
        "prompt": prompt,
        "n_predict": args.output_tokens + 1,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": True,
        "return_tokens": True,
    }
    request = urllib.request.Request(
        url, json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        answer = json.load(response)
    return answer["tokens"], answer["timings"]["prompt_ms"] / 1000


if __name__ == "__main__":
    main()
