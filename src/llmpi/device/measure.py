"""Measure one workload of one model file, in a process of its own (`supervise` starts it).

Its two arguments are JSON files: the job, and where the measurement goes.
"""

import json
import random
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from llmpi.device import engine_info, environment
from llmpi.device.engine import Engine, EngineError


def measure(gguf: Path, workload: dict[str, Any], threads: int | None) -> dict[str, Any]:
    """One workload, warm-up first, every repetition raw.

    Args:
        gguf: the model file.
        workload: the fields of `llmpi.study.Workload`.
        threads: of the engine; by default one per processor.

    Returns:
        Record with times in seconds: `pp_s` (the whole prompt), `ttft_s` (prompt and first token),
        `itl_s` (one per generated token).
    """
    threads = threads or environment.machine()["processors"]
    before = environment.conditions()
    prompt_tokens, output_tokens = workload["prompt_tokens"], workload["output_tokens"]
    context_tokens = workload["context_tokens"] or prompt_tokens + output_tokens
    started = time.perf_counter()
    with Engine(gguf, context_tokens=context_tokens, threads=threads) as engine:
        load_s = time.perf_counter() - started
        say(f"loaded in {load_s:.2f} s")
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        prompt = fixed_tokens(engine.vocab_tokens, prompt_tokens)
        forced = (
            fixed_tokens(engine.vocab_tokens, output_tokens, seed=1)
            if workload["sampling"] == "none"
            else None
        )
        warmup: list[dict[str, Any]] = []
        repetitions: list[dict[str, Any]] = []
        for kept, count, name in (
            (warmup, workload["warmup"], "warm-up"),
            (repetitions, workload["repetitions"], "repetition"),
        ):
            for i in range(count):
                kept.append(repeat(engine, prompt, output_tokens, forced))
                pp, tg = rates(kept[-1], prompt_tokens)
                say(f"{name} {i + 1}/{count}: pp {pp:.1f} t/s, tg {tg:.1f} t/s")
        settings = {
            "threads": threads,
            "context_tokens": engine.context_tokens,
            "batch_tokens": engine.batch_tokens,
            "ubatch_tokens": engine.ubatch_tokens,
            "kv_cache": "f16",
            "flash_attention": "auto",
            "mmap": True,
        }
    return {
        "status": "ok",
        "workload": workload,
        "settings": settings,
        "load_s": load_s,
        "warmup": warmup,
        "repetitions": repetitions,
        "memory": {
            "peak_rss_bytes": peak_rss_bytes(),
            "major_faults": resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults,
        },
        "environment": {
            "machine": environment.machine(),
            "engine": engine_info.describe(),
            "before": before,
            "after": environment.conditions(),
        },
    }


def repeat(
    engine: Engine, prompt: list[int], output_tokens: int, forced: list[int] | None
) -> dict[str, Any]:
    """One repetition on an empty context; nothing but decoding and sampling between the clocks.

    The first token comes out of the prompt's own logits; each of the `output_tokens` timed steps
    decodes one token and, unless tokens are `forced`, samples the next.
    """
    engine.keep(0)
    itl_ns = []
    clock = time.perf_counter_ns
    start = clock()
    engine.decode(prompt)
    engine.synchronize()
    prompt_done = clock()
    token = engine.greedy()
    last = first_token = clock()
    for i in range(output_tokens):
        if forced is None:
            engine.decode([token])
            token = engine.greedy()
        else:
            engine.decode([forced[i]])
            engine.synchronize()
        now = clock()
        itl_ns.append(now - last)
        last = now
    return {
        "pp_s": (prompt_done - start) / 1e9,
        "ttft_s": (first_token - start) / 1e9,
        "itl_s": [ns / 1e9 for ns in itl_ns],
    }


def rates(repetition: dict[str, Any], prompt_tokens: int) -> tuple[float, float]:
    """(pp, tg) of one repetition, in tokens per second."""
    itl = repetition["itl_s"]
    return prompt_tokens / repetition["pp_s"], len(itl) / sum(itl)


def fixed_tokens(vocab_tokens: int, count: int, seed: int = 0) -> list[int]:
    """The same pseudo-random tokens in every run of every model with this vocabulary."""
    return [random.Random(f"llmpi {seed} {i}").randrange(vocab_tokens) for i in range(count)]


def peak_rss_bytes() -> int | None:
    # Not ru_maxrss: that one survives exec, and would show a larger parent's peak.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def say(text: str) -> None:
    print(f"llmpi: {text}", file=sys.stderr, flush=True)


def main(job: str, out: str) -> None:
    spec = json.loads(Path(job).read_text())
    keep_alive = engine_info.log_to(sys.stderr.write)
    try:
        record = measure(Path(spec["gguf"]), spec["workload"], spec["threads"])
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record))
    del keep_alive


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
