"""A budget of time: whether a mix is as fast as this machine's own rates foretold, beside Q4_0.

The rates are measured here, on an idle machine: each type with the matrices of the demo's model,
smeared (see `benchmarks.smeared`), and the tokens of its Q4_0. For each of `--times` a mix is
chosen that may take so many times as long for a token as Q4_0, by what is expected of types
alone: no divergence is probed, which costs no time in the file. Then both files are in memory and
decode some tokens in turns, which of them first at random, and read a prompt. None is mapped: the
kernel gives a mapped file pages as large as it happens to have when it is written or read, and by
them a type's rate differed by a quarter here. All weights, those that are rated, too, lie in pages
of 2 MB, as far as glibc and the kernel give them: with smaller ones the errors were up to 0.12 on a
virtual machine.

`predicted_ratio` is the mix's seconds a token over Q4_0's by the rates, `measured_ratio` the same
of the turns (median), with the 95 % interval of that median (bootstrap over turns), `ratio_error`
measured over predicted, less 1; `prompt_ratio_error` the same of a prompt's tokens; of the first of
`--times`, and with `_TIMES` behind it of each.
"""

import argparse
import os
import random
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.smeared import smeared_demo
from benchmarks.whole import whole
from llmpi.device.measure import rates as timing
from llmpi.device.records import RatesRequest
from llmpi.engine import info
from llmpi.engine.llama import Engine, Settings
from llmpi.engine.records import Rates
from llmpi.gguf.contents import stored
from llmpi.gguf.mix.best import best
from llmpi.gguf.mix.goals import Goal
from llmpi.gguf.mix.groups import choice_of
from llmpi.gguf.mix.search import spent
from llmpi.gguf.mix.seconds import products, timed, told, wanted
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Mix, Start
from llmpi.quant_types import RATED_WITH, TENSOR_TYPES, budget_of
from llmpi.records import now, sha256_of
from llmpi.remote import requests
from llmpi.study.measuring import Runtime

RESAMPLES = 2000
TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""Read as a process begins: large pages for what is allocated (glibc's manual, 2.35 and later)."""


def main() -> None:
    if LARGE_PAGES not in (theirs := os.environ.get(TUNABLES, "")):
        os.environ[TUNABLES] = ":".join(filter(None, (theirs, LARGE_PAGES)))
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.rates", *sys.argv[1:]])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description=__doc__)
    parser.add_argument(
        "--times", type=float, nargs="+", default=[1.3], help="default: %(default)s"
    )
    parser.add_argument("--turns", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    info.log_to(lambda _: None)
    with smeared_demo() as base:
        for metric, value in measured(base, base.parent, args).items():
            print(f"{metric}: {value:.4g}")


def measured(base: Path, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    manifest: Start = {"status": "ok", "sha256": sha256_of(base), "lineage": ["F16"]}
    plain = folder / "Q4_0.gguf"
    whole(quantize(base, manifest, plain, RATED_WITH))
    rates = rated(base, plain, args.threads)
    token_s = median(rates["token_s"])
    print(f"rates: {len(rates['rates'])} products in {rates['took_s']:.0f} s", flush=True)
    found = {"q4_0_token_ms": 1000 * token_s}
    for times in args.times:
        name = f"MIX-{1 / (times * token_s):.1f}".removesuffix(".0") + "tps-here"
        mix = chosen(base, name, rates)
        made = folder / "mix.gguf"
        size = whole(quantize(base, manifest, made, name, mix=mix))["bytes"]
        time = mix.get("time")
        assert time
        predicted = time["token_s"] / token_s
        prompt = time["prompt_token_s"] * rates["prompt_tokens"] / median(rates["prompt_s"])
        tokens, prompts = in_turns(made, plain, args)
        ratio, low, high = middle(tokens[:, 0] / tokens[:, 1])
        prompt_ratio, *about = middle(prompts[:, 0] / prompts[:, 1])
        print(
            f"{name}: {size} bytes, {dict(counted(mix))}; predicted {predicted:.4f}, measured "
            f"{ratio:.4f} ({low:.4f} to {high:.4f}); of a prompt {prompt:.4f} and "
            f"{prompt_ratio:.4f} ({about[0]:.4f} to {about[1]:.4f})",
            flush=True,
        )
        each = {
            "predicted_ratio": predicted,
            "measured_ratio": ratio,
            "ratio_error": ratio / predicted - 1,
            "prompt_ratio_error": prompt_ratio / prompt - 1,
        }
        found |= {} if "ratio_error" in found else each
        found |= {f"{key}_{times:g}": value for key, value in each.items()}
    return found


def rated(base: Path, plain: Path, threads: int) -> Rates:
    """The rates of this machine."""
    asked, elements = wanted(base)
    request: RatesRequest = {
        "what": "benchmarks.rates",
        "gguf": str(plain),
        "threads": threads,
        "runtime": requests.runtime(Runtime(mmap=False)),
        "matrices": [
            {"type": kind, "rows": shape.rows, "columns": shape.columns} for kind, shape in asked
        ],
        "elements": elements,
        "limits": None,
    }
    started = now()
    answer = whole(timing.run(request, log=lambda _: None))
    about = {"device": "here", "quant": RATED_WITH, "gguf_sha256": sha256_of(plain)}
    found: Any = {**answer, **about, "started": started, "ended": now()}
    rates: Rates = found
    return rates


def chosen(base: Path, name: str, rates: Rates) -> Mix:
    """A mix as a search would have found it, were each bit of a weight worth the same."""
    held, said, budget = stored(base), told(base), budget_of(name)
    assert budget and budget.tokens_per_s
    groups, _ = choice_of(
        *(held, said.uniform["kinds"], budget),
        header_bytes=0,
        asked=TENSOR_TYPES,
        weighted=[],
    )
    uniform = dict(zip(held, said.uniform["kinds"], strict=True))
    time = timed(groups, products(base, said.whole), uniform, rates, budget.tokens_per_s)
    losses = {
        group.name: {
            kind: group.parameters * 4.0 ** (-8 * size / group.parameters)
            for kind, size in group.bytes.items()
        }
        for group in time.groups
    }
    found = best(
        Goal(time.groups, time.limit),
        losses,
        lambda types: np.full(2, sum(losses[group][kind] for group, kind in types.items())),
    )
    made: Any = {
        **found,
        "status": "ok",
        "quant": name,
        "time": spent(time, found["groups"], rates),
        "source": {"sha256": sha256_of(base)},
        "imatrix": None,
        "corpus_sha256": "",
        "rounding_nats": 0.0,
        "probes": 0,
    }
    mix: Mix = made
    return mix


def counted(mix: Any) -> list[tuple[str, int]]:
    """How many tensors have each type."""
    found: dict[str, int] = {}
    for group in mix["groups"]:
        found[group["type"]] = found.get(group["type"], 0) + len(group["tensors"])
    return sorted(found.items(), key=lambda one: -one[1])


def in_turns(mix: Path, plain: Path, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Seconds a token and seconds a prompt, [turn, file] each."""
    settings = Settings(threads=args.threads, mmap=False)
    with ExitStack() as held:
        engines = [
            held.enter_context(Engine(path, settings, context_tokens=timing.PROMPT_TOKENS))
            for path in (mix, plain)
        ]
        for engine in engines:
            timing.decoded_s(engine)
        tokens, prompts = np.empty((args.turns, 2)), np.empty((args.turns, 2))
        for turn in range(args.turns):
            for i in random.Random(turn).sample((0, 1), 2):
                tokens[turn, i] = timing.decoded_s(engines[i])
                prompts[turn, i] = timing.prompt_read_s(engines[i], timing.PROMPT_TOKENS)
        return tokens, prompts


def middle(ratios: np.ndarray) -> tuple[float, float, float]:
    """The median and its 95 % interval."""
    draws = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


if __name__ == "__main__":
    main()
