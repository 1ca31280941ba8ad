"""The batched engine's questions per second, against a loop and llama-server, and its ceiling.

All three answer the same prompts (SQuAD v2 questions behind the task's frozen prompt), with the
same bound on new tokens and the same rule to stop. The loop decodes one prompt after the other and
keeps what the next one has in common with it, as llama-cpp-python does; llama-server, built from
the engine's own sources, runs with the number of slots it is fastest with. The ceiling is what
llama-batched-bench's best rates would make of the prompt and new tokens that have to be computed.
Its prompts begin in an empty cache, while what has to be computed of ours stands behind what it
shares with others: a row at that depth looks at more. `depth_ceiling_share_*` is the share of what
llama-bench's rate at the mean depth of our rows would make of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple

from benchmarks.peer import ROOT, tool
from benchmarks.speed import bench_rate, demo_files
from llmpi.engine import info as engine_info
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.llama import Engine, Settings
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Request, common_prefix, shape_of
from llmpi.quality.squad.blocks import BLOCK_QUESTIONS, blocks_of
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.questions import draw
from llmpi.study.tasks.squad import SquadTask

Prompt = tuple[int, ...]
Answers = list[tuple[int, ...]]
SLOTS = (1, 2, 4, 8, 16)
CONTEXT: int = SquadTask.model_fields["context_tokens"].default


class Run(NamedTuple):
    """Answers in order, and the seconds they took."""

    answers: Answers
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--squad", type=Path, default=ROOT / "config/data/field_qa.json")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--examples", type=int, default=4, help="in each prompt")
    parser.add_argument("--max-new-tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    found: dict[str, float] = {}
    for gguf in demo_files():
        found |= compare(gguf, args)
    for name, value in found.items():
        print(f"{name}: {value:.3f}")


def compare(gguf: Path, args: argparse.Namespace) -> dict[str, float]:
    """Ratios of one file: to the faster peer, to the ceiling, answers equal the loop's."""
    name = gguf.stem.lower()
    blocks = load_prompts(gguf, args)
    count = sum(len(group) for block in blocks for group in block)
    prompts = [prompt for block in blocks for group in block for prompt in group]
    slots = best_slots(gguf, prompts[: max(40, count // 4)], args)
    runs: dict[str, list[Run]] = {"ours": [], "loop": [], "server": []}
    tokens = (0, 0)
    for _ in range(args.rounds):
        ours, tokens = ours_run(gguf, blocks, args)
        runs["ours"].append(ours)
        runs["loop"].append(loop_run(gguf, prompts, args))
        runs["server"].append(server_run(gguf, prompts, slots, args))
        for who, done in runs.items():
            print(f"{name}: {who:6s} {count / done[-1].seconds:6.2f} questions/s", flush=True)
    best = [min(a.seconds, b.seconds) for a, b in zip(runs["loop"], runs["server"], strict=True)]
    ours_s = [run.seconds for run in runs["ours"]]
    mean = round(statistics.fmean(map(len, prompts)))
    pp, tg = ceiling(gguf, mean, args)
    ceiling_s = tokens[0] / pp + tokens[1] / tg
    at_depth_s = tokens[0] / pp_at_depth(gguf, depth_of(blocks), args) + tokens[1] / tg
    pairs = zip(runs["ours"][0].answers, runs["loop"][0].answers, strict=True)
    same = sum(ours == theirs for ours, theirs in pairs)
    print(f"{name}: {count} questions, {tokens[0]} prompt and {tokens[1]} new tokens computed")
    return {
        f"questions_per_s_{name}": count / statistics.median(ours_s),
        f"server_slots_{name}": slots,
        f"vs_best_{name}": statistics.median(b / o for b, o in zip(best, ours_s, strict=True)),
        f"ceiling_share_{name}": ceiling_s / statistics.median(ours_s),
        f"depth_ceiling_share_{name}": at_depth_s / statistics.median(ours_s),
        f"same_as_loop_{name}": same / count,
        f"same_twice_{name}": float(len({str(run.answers) for run in runs["ours"]}) == 1),
    }


def load_prompts(gguf: Path, args: argparse.Namespace) -> list[list[list[Prompt]]]:
    """Blocks of groups of prompts, as the task makes them."""
    document = json.loads(args.squad.read_text(encoding="utf-8"))
    paragraphs = draw(parse(document, str(args.squad)), args.questions, 0)
    with Engine(gguf, Settings(threads=args.threads), context_tokens=64) as engine:
        bos, eos = engine.special_texts()
        chat = ChatFormat(engine.chat_template(), bos_token=bos, eos_token=eos)

        def prompts(i: int) -> list[Prompt]:
            context, questions, _ = paragraphs[i]
            asked = (
                chat.render(messages(context, q.question, args.examples)).text for q in questions
            )
            return [tuple(engine.tokenize(text)) for text in asked]

        return [[prompts(i) for i in block] for block in blocks_of(paragraphs, BLOCK_QUESTIONS)]


# --- the three ------------------------------------------------------------------------------------


def ours_run(
    gguf: Path, blocks: list[list[list[Prompt]]], args: argparse.Namespace
) -> tuple[Run, tuple[int, int]]:
    """Our run, and the (prompt, new) tokens it had to compute."""
    asked = [[[Request(p, args.max_new_tokens) for p in g] for g in block] for block in blocks]
    with BatchEngine(gguf, threads=args.threads, shape=shape_of(CONTEXT)) as engine:
        start = time.perf_counter()
        prefix = engine.share([group for block in asked for group in block])
        outcomes, rows = [], prefix
        for block in asked:
            done, counts = engine.run(block)
            outcomes += done
            rows += counts["rows"]
        seconds = time.perf_counter() - start
    # The first token comes out of the prompt; the last one is not computed, unless it is the end.
    new = sum(len(o.tokens) if o.stopped else len(o.tokens) - 1 for o in outcomes)
    return Run([outcome.tokens for outcome in outcomes], seconds), (rows - new, new)


def loop_run(gguf: Path, prompts: Sequence[Prompt], args: argparse.Namespace) -> Run:
    with Engine(gguf, Settings(threads=args.threads), context_tokens=CONTEXT) as engine:
        start = time.perf_counter()
        answers = list(loop(engine, prompts, args.max_new_tokens))
        return Run(answers, time.perf_counter() - start)


def loop(engine: Engine, prompts: Sequence[Prompt], max_new_tokens: int) -> Iterator[Prompt]:
    held: Prompt = ()
    for prompt in prompts:
        kept = common_prefix([held, prompt])
        engine.keep(kept)
        engine.decode(prompt[kept:])
        held, tokens = prompt, []
        while not engine.is_end(token := engine.greedy()):
            tokens.append(token)
            if len(tokens) == max_new_tokens:
                break
            engine.decode([token])
        yield tuple(tokens)


def server_run(gguf: Path, prompts: Sequence[Prompt], slots: int, args: argparse.Namespace) -> Run:
    """A server started anew, so that it has no answer in its caches; starting is not timed."""
    with server(gguf, slots, args) as url, ThreadPoolExecutor(slots) as clients:
        start = time.perf_counter()
        answers = list(clients.map(lambda prompt: complete(url, prompt, args), prompts))
        return Run(answers, time.perf_counter() - start)


def best_slots(gguf: Path, prompts: Sequence[Prompt], args: argparse.Namespace) -> int:
    """The number of slots with which the server is fastest on some of the prompts."""
    seconds = {slots: server_run(gguf, prompts, slots, args).seconds for slots in SLOTS}
    for slots, took in seconds.items():
        print(f"{gguf.stem.lower()}: server, {slots} slots: {len(prompts) / took:.2f} questions/s")
    return min(seconds, key=seconds.__getitem__)


@contextmanager
def server(gguf: Path, slots: int, args: argparse.Namespace) -> Iterator[str]:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(args.threads)
    command = [str(tool("llama-server")), "-m", str(gguf), "--port", str(port), "--host"]
    command += ["127.0.0.1", "-t", threads, "-tb", threads, "-np", str(slots), "--kv-unified"]
    command += ["-c", str(max(CONTEXT, 2048 * slots)), "--no-webui", "--log-disable"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}/completion"
        finally:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"llama-server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("llama-server does not answer")


def complete(url: str, prompt: Prompt, args: argparse.Namespace) -> Prompt:
    asked = {
        "prompt": prompt,
        "n_predict": args.max_new_tokens,
        "temperature": 0,
        "samplers": ["top_k"],
        "top_k": 1,
        "cache_prompt": True,
        "return_tokens": True,
    }
    request = urllib.request.Request(
        url, json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        return tuple(json.load(response)["tokens"])


# --- the ceiling ----------------------------------------------------------------------------------


def ceiling(gguf: Path, prompt_tokens: int, args: argparse.Namespace) -> tuple[float, float]:
    """llama-batched-bench's best rates, for prompts of so many tokens and answers like ours."""
    ours = ["-npp", str(prompt_tokens), "-ntg", str(args.max_new_tokens)]
    command = [str(tool("llama-batched-bench")), "-m", str(gguf), "-c", "16384", "-b", "2048"]
    command += ["-ub", "512", *ours, "-npl", "1,4,8,16,24", "--output-format", "jsonl"]
    command += ["-t", str(args.threads), "-tb", str(args.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"llama-batched-bench failed ({done.returncode}): {done.stderr[-2000:]}")
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")
    ]
    pp, tg = max(row["speed_pp"] for row in rows), max(row["speed_tg"] for row in rows)
    print(f"{gguf.stem.lower()}: llama-batched-bench: pp {pp:.0f}, tg {tg:.0f} tokens/s")
    return pp, tg


def depth_of(blocks: list[list[list[Prompt]]]) -> int:
    """At how many tokens the rows of prompts stand that have to be computed, on the average."""
    groups = [group for block in blocks for group in block]
    prefix = common_prefix([prompt for group in groups for prompt in group])
    pieces = [(0, prefix)]
    for group in groups:
        shared = common_prefix(group)
        pieces += [(prefix, shared), *((shared, len(prompt)) for prompt in group)]
    rows = sum(end - start for start, end in pieces)
    return round(sum((end - start) * (start + end) / 2 for start, end in pieces) / rows)


def pp_at_depth(gguf: Path, depth: int, args: argparse.Namespace) -> float:
    """llama-bench's best rate of rows that stand at such a depth on the average, tokens/s."""
    bench = tool("llama-bench")
    tests = [
        ["-n", "0", "-p", str(rows), "-d", str(max(0, depth - rows // 2))]
        for rows in (64, 128, 256)
    ]
    best = max(bench_rate(bench, gguf, test, args.threads, 5) for test in tests)
    print(f"{gguf.stem.lower()}: llama-bench at a depth of {depth}: pp {best:.0f} tokens/s")
    return best


if __name__ == "__main__":
    main()
