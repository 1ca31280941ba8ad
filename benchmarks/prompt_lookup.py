"""Prompt lookup against greedy decoding: the same text, and how much sooner.

Both answer the same SQuAD v2 questions behind the task's frozen prompt, from the same state behind
each prompt, in turns. The speed-up is of decoding alone: what each took for the answers that both
give. Where they differ, rounding is to blame: a batch has other kernels than a single token, for
weights of F16 and, with `--kv-cache f16`, for attention. `largest_gap` says how near the two tokens
were where they part, in logits.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peer import ROOT
from benchmarks.quality import CONTEXT, load_prompts
from benchmarks.speed import demo_files
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, Settings
from llmpi.engine.params import KV_TYPES
from llmpi.engine.prompt_lookup import PromptLookup
from llmpi.engine.speculation import Speculation
from llmpi.quality.batching.schedule import common_prefix
from llmpi.study.measuring import PromptLookup as Defaults


class Answer(NamedTuple):
    """Its tokens, and the seconds that all but the first took."""

    tokens: list[int]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt_lookup", description=__doc__)
    parser.add_argument("--squad", type=Path, default=ROOT / "config/data/field_qa.json")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--examples", type=int, default=4, help="in each prompt")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--ngram", type=int, default=Defaults().ngram)
    parser.add_argument("--draft-tokens", type=int, default=Defaults().draft_tokens)
    parser.add_argument("--no-repack", action="store_true", help="weights as the file has them")
    parser.add_argument("--kv-cache", default="q8_0", choices=KV_TYPES)
    parser.add_argument("--gguf", type=Path, action="append", help="may be repeated")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    for gguf in args.gguf or demo_files():
        for name, value in compare(gguf, args).items():
            print(f"{name}_{gguf.stem.lower()}: {value:.3f}", flush=True)


def compare(gguf: Path, args: argparse.Namespace) -> dict[str, float]:
    """What one file gains, and how many of its answers stay the same."""
    blocks = load_prompts(gguf, args)
    prompts = [prompt for block in blocks for group in block for prompt in group]
    lookup = Speculation(PromptLookup(args.ngram, args.draft_tokens))
    settings = Settings(threads=args.threads, repack=not args.no_repack, kv_cache=args.kv_cache)
    same, tokens, steps, drafted, accepted = 0, 0, 0, 0, 0
    seconds = {"greedy": 0.0, "lookup": 0.0}
    held: tuple[int, ...] = ()
    gaps = [0.0]
    with Engine(gguf, settings, context_tokens=CONTEXT) as engine:
        for i, prompt in enumerate(prompts):
            engine.keep(common := common_prefix([held, prompt]))
            engine.decode(prompt[common:])
            held, first = prompt, engine.greedy()
            if engine.is_end(first):
                same += 1
                continue
            answers = {}
            for who in ("greedy", "lookup") if i % 2 else ("lookup", "greedy"):
                engine.keep(len(prompt))
                text = [*prompt, first]
                answers[who] = answer(engine, text, args, lookup if who == "lookup" else None)
            greedy, looked_up = answers["greedy"].tokens, answers["lookup"].tokens
            if greedy == looked_up:
                same += 1
                tokens += len(greedy) - 1
                for who, found in answers.items():
                    seconds[who] += found.seconds
            else:
                gaps.append(gap(engine, prompt, greedy, looked_up))
            steps += lookup.steps
            drafted += lookup.drafted
            accepted += lookup.accepted
    return {
        "questions": len(prompts),
        "same_text": same / len(prompts),
        "largest_gap": max(gaps),
        "speedup": seconds["greedy"] / seconds["lookup"],
        "tokens_per_s_greedy": tokens / seconds["greedy"],
        "accepted_share": accepted / max(drafted, 1),
        "tokens_per_step": (steps + accepted) / max(steps, 1),
    }


def gap(
    engine: Engine, prompt: Sequence[int], greedy: Sequence[int], other: Sequence[int]
) -> float:
    """Where two answers part: by how much greedy decoding prefers its token, in logits."""
    at = next(i for i, (a, b) in enumerate(zip(greedy, other, strict=False)) if a != b)
    engine.keep(len(prompt))
    for token in greedy[:at]:
        logits = engine.decode_all([token])[0]
    return float(logits[greedy[at]] - logits[other[at]])


def answer(
    engine: Engine, text: Sequence[int], args: argparse.Namespace, lookup: Speculation | None
) -> Answer:
    """Go on with a text to the model's own end, or so many tokens; both as the product does it."""
    start = time.perf_counter()
    said: list[int] = [text[-1]]
    if lookup:
        lookup.begin(text[:-1])
        lookup.say(text[-1])
    while len(said) < args.max_new_tokens:
        if lookup:
            got = lookup.extend(engine, args.max_new_tokens - len(said))
        else:
            engine.decode([said[-1]])
            got = [engine.greedy()]
        ends = [i for i, token in enumerate(got) if engine.is_end(token)]
        if ends:
            said += got[: ends[0] + 1]
            break
        said += got
    return Answer(said, time.perf_counter() - start)


if __name__ == "__main__":
    main()
