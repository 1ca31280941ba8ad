"""What an answer takes, as the summary computes it from tokens and speeds, against the clock.

Speeds are measured as the product does (a workload with a depth), before and after SQuAD v2
questions are answered behind the task's frozen prompt, one at a time, each prompt read whole. The
error is of single questions; `ratio_error` is of what two files' answers take on the whole.

With `--summary` it is told of a finished study with workloads of the kind `answers`, on whatever
boards those were measured: of each variant the median answer and how far all are off, and of each
variant against the first one on its board the `ratio_error`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from benchmarks.ours import repetitions
from benchmarks.peer import ROOT
from benchmarks.quality import CONTEXT, load_prompts
from benchmarks.speed import demo_files
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, Settings
from llmpi.engine.records import Repetition
from llmpi.quality.answers import Given, answered
from llmpi.records import read
from llmpi.summary.answers import answer_costs
from llmpi.summary.records import CellEnergy, SampleCell, Speed, Summary

PROMPT_TOKENS, DEPTH_TOKENS, OUTPUT_TOKENS = 256, 900, 32
NO_METER = cast(CellEnergy, {"pp_j_per_token": None, "tg_j_per_token": None})


class Clocked(NamedTuple):
    """Of a question: the tokens of its prompt and its answer, and what it took, s."""

    prompt: int
    answer: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    parser.add_argument("--squad", type=Path, default=ROOT / "config/data/field_qa.json")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--examples", type=int, default=4, help="in each prompt")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--gguf", type=Path, action="append", help="may be repeated")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--summary", type=Path, help="summary.json of a study that has answers")
    args = parser.parse_args()
    if args.summary:
        print("\n".join(told_of(read(args.summary, Summary)["samples"])))
        return
    engine_info.log_to(lambda _: None)
    errors: list[float] = []
    totals: list[tuple[float, float]] = []
    for gguf in args.gguf or demo_files():
        told, predicted = compare(gguf, args)
        off = [100 * abs(p / one.seconds - 1) for p, one in zip(predicted, told, strict=True)]
        errors += off
        totals.append((sum(predicted), sum(one.seconds for one in told)))
        name = gguf.stem.lower()
        print(f"median_answer_s_{name}: {statistics.median(one.seconds for one in told):.3f}")
        print(f"median_error_{name}: {statistics.median(off):.1f}", flush=True)
    print(f"questions: {len(errors)}")
    print(f"median_error: {statistics.median(errors):.1f}")
    if len(totals) > 1:
        (one, seen), (other, seen_other) = totals[:2]
        print(f"ratio_error: {100 * abs((one / other) / (seen / seen_other) - 1):.1f}")


def told_of(cells: Sequence[SampleCell]) -> Iterator[str]:
    """Of what was measured on boards, each held against the speeds of the session's first cell."""
    errors: list[float] = []
    ratios: list[float] = []
    firsts: dict[tuple[str, str, str], float] = {}
    for cell in cells:
        if cell["status"] != "ok" or not cell["against"]:
            continue
        beside = cell["against"][0]
        name = "_".join((cell["device"], cell["model"], cell["quant"], cell["runtime"])).lower()
        errors.append(100 * abs(1 / beside["ratio"] - 1))
        first = firsts.setdefault(
            (cell["device"], cell["runtime"], cell["workload"]), beside["ratio"]
        )
        yield f"median_answer_s_{name}: {cell['p50_s']:.3f}"
        yield f"predicted_answer_s_{name}: {beside['predicted_p50_s']:.3f}"
        yield f"error_{name}: {errors[-1]:.1f}"
        if first != beside["ratio"]:
            ratios.append(100 * abs(first / beside["ratio"] - 1))
            yield f"ratio_error_{name}: {ratios[-1]:.1f}"
    yield f"answers: {sum(cell['answers'] for cell in cells)}"
    if errors:
        yield f"median_error: {statistics.median(errors):.1f}"
    if ratios:
        yield f"ratio_error: {max(ratios):.1f}"


def compare(gguf: Path, args: argparse.Namespace) -> tuple[list[Clocked], list[float]]:
    """What the questions took, and what they are said to take, s."""
    blocks = load_prompts(gguf, args)
    prompts = [prompt for block in blocks for group in block for prompt in group]
    half = len(prompts) // 2
    speeds = [measured(gguf, args.threads)]
    told: list[Clocked] = []
    for some in (prompts[:half], prompts[half:]):
        told += clocked(gguf, some, args)
        speeds.append(measured(gguf, args.threads))
    speed = {key: statistics.median(one[key] for one in speeds) for key in speeds[0]}
    return told, [seconds(one, speed) for one in told]


def measured(gguf: Path, threads: int) -> dict[str, float]:
    """Of the product's own measurement: pp, and tg behind its prompt and behind a longer context;
    tokens/s."""
    asked = {"output_tokens": OUTPUT_TOKENS, "repetitions": 5, "warmup": 1}
    near = repetitions(gguf, threads, prompt_tokens=PROMPT_TOKENS, **asked)
    far = repetitions(gguf, threads, prompt_tokens=DEPTH_TOKENS, **asked)
    return {
        "pp": statistics.median(PROMPT_TOKENS / one["pp_s"] for one in near),
        "tg": statistics.median(map(tg, near)),
        "tg_far": statistics.median(map(tg, far)),
    }


def tg(one: Repetition) -> float:
    return len(one["itl_s"]) / sum(one["itl_s"])


def seconds(one: Clocked, speed: dict[str, float]) -> float:
    """As the summary computes it."""
    found = answered([Given(one.prompt, 0, one.answer, None, 0, 0)])
    assert found
    known = {f"pp{end}_tps": speed["pp"] for end in ("", "_min", "_max")}
    known |= {f"tg{end}_tps": speed["tg"] for end in ("", "_min", "_max")}
    depth = {"depth_tokens": DEPTH_TOKENS, "tps": speed["tg_far"]}
    cell = cast(Speed, {**known, "tg_at_depths_tps": [depth]})
    return answer_costs({"": found}, cell, NO_METER, PROMPT_TOKENS)[""]["answer_p50_s"]


def clocked(
    gguf: Path, prompts: Sequence[Sequence[int]], args: argparse.Namespace
) -> list[Clocked]:
    """Answers one after the other, each behind nothing."""
    found = []
    with Engine(gguf, Settings(threads=args.threads), context_tokens=CONTEXT) as engine:
        for prompt in (prompts[0], *prompts):  # the first warms up
            engine.keep(0)
            start = time.perf_counter()
            engine.decode(prompt)
            said = [engine.greedy()]
            while not engine.is_end(said[-1]) and len(said) < args.max_new_tokens:
                engine.decode([said[-1]])
                said.append(engine.greedy())
            found.append(Clocked(len(prompt), len(said) - 1, time.perf_counter() - start))
    return found[1:]


if __name__ == "__main__":
    main()
