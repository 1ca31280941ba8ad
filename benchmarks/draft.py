"""A model with a smaller quantization of itself that drafts, against the same without: by kind of
text, whether the text is the same, what is accepted, and how much sooner.

Each workload (`prompt:` of a config) is measured as the product does, with and without the drafts
in turns. A draft model reads the prompt, too: `ttft_ratio` says what that costs, `speedup` is of
token generation alone, `answer_speedup` of both together. Where the text is another one, rounding
is to blame, as a batch has other kernels than a single token: `same` is the share before that, and
`gap` how near the two tokens were where they part, in logits.
"""

import argparse
import os
import statistics
from contextlib import closing
from pathlib import Path
from typing import get_args

from benchmarks.divergence import quantized
from benchmarks.prompt_lookup import gap
from llmpi.device.machine.contention import Processors
from llmpi.device.measure.single import Single
from llmpi.engine import info as engine_info
from llmpi.engine.draft_model import DraftModel
from llmpi.engine.fixed_text import passage
from llmpi.engine.llama import Engine, Settings
from llmpi.engine.open_texts import Kind, open_text
from llmpi.engine.params import KV_TYPES
from llmpi.engine.records import Repetition, SingleCell
from llmpi.engine.speculation import Speculation, agreeing
from llmpi.remote import requests
from llmpi.study.measuring import Draft, Workload

KINDS = ("passage", *get_args(Kind))
TOKENS: int = Draft.model_fields["draft_tokens"].default


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.draft", description=__doc__)
    parser.add_argument("--target", type=Path, help="GGUF file (default: the demo's F16)")
    parser.add_argument("--draft", type=Path, action="append", help="may be repeated")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of text")
    parser.add_argument("--draft-tokens", type=int, default=TOKENS)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kv-cache", default="q8_0", choices=KV_TYPES)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    demo = quantized()
    for draft in args.draft or [demo["Q4_0"], demo["Q2_K"]]:
        for name, value in compare(args.target or demo["F16"], draft, args).items():
            print(f"{name}_{draft.stem.lower()}: {value:.3f}", flush=True)


def compare(target: Path, draft: Path, args: argparse.Namespace) -> dict[str, float]:
    """What a draft model gains, by kind of text."""
    found: dict[str, float] = {}
    settings = Settings(threads=args.threads, kv_cache=args.kv_cache)
    with (
        Engine(target, settings, context_tokens=8) as engine,
        closing(DraftModel(draft, engine, args.draft_tokens)) as model,
    ):
        for kind in args.kinds:
            plain, drafted = in_turns(engine, Speculation(model), kind, args)
            values = {**gained(plain, drafted), "gap": parting(engine, plain, drafted)}
            found |= {f"{name}_{kind}": value for name, value in values.items()}
    return found


def in_turns(
    engine: Engine, speculation: Speculation, kind: str, args: argparse.Namespace
) -> tuple[SingleCell, SingleCell]:
    """Both without their first round."""
    asked = Workload.model_validate(
        {
            "prompt": kind,
            "prompt_tokens": args.prompt_tokens,
            "output_tokens": args.output_tokens,
            "repetitions": args.rounds,
        }
    )
    spec = requests.single_workloads({kind: asked})[kind]
    processors = Processors(args.threads)
    both = [Single(engine, kind, spec, None, processors, who) for who in (None, speculation)]
    for i in range(args.rounds + 1):
        for one in both if i % 2 else reversed(both):
            done = one.repeat(None, f"{i}/{args.rounds}")
            if not i:
                one.set_aside(None, done)
    plain, drafted = (one.record() for one in both)
    return plain, drafted


def gained(plain: SingleCell, drafted: SingleCell) -> dict[str, float]:
    def median(cell: SingleCell, value: str) -> float:
        return statistics.median(seconds(one)[value] for one in cell["repetitions"])

    last = drafted["repetitions"][-1]
    steps, accepted = last["steps"], last["accepted"]
    return {
        "same": agreeing(plain["output"], drafted["output"]) / len(plain["output"]),
        "accepted_share": accepted / max(1, last["drafted"]),
        "tokens_per_step": (steps + accepted) / steps,
        "tokens_per_s_plain": (len(plain["output"]) - 1) / median(plain, "tg"),
        "speedup": median(plain, "tg") / median(drafted, "tg"),
        "ttft_ratio": median(drafted, "ttft") / median(plain, "ttft"),
        "answer_speedup": median(plain, "whole") / median(drafted, "whole"),
    }


def parting(engine: Engine, plain: SingleCell, drafted: SingleCell) -> float:
    """By how many logits plain decoding prefers its token where both part; 0 if they do not."""
    if plain["output"] == drafted["output"]:
        return 0.0
    count = plain["workload"]["prompt_tokens"]
    text = plain["workload"]["prompt"]
    assert text != "random"
    prompt = passage(engine, count) if text == "passage" else open_text(engine, text, count)
    engine.keep(0)
    engine.decode(prompt)
    return gap(engine, prompt, plain["output"], drafted["output"])


def seconds(one: Repetition) -> dict[str, float]:
    tg = sum(one["itl_s"])
    return {"tg": tg, "ttft": one["ttft_s"], "whole": one["ttft_s"] + tg}


if __name__ == "__main__":
    main()
