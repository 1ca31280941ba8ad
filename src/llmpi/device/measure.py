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
from llmpi.device.bandwidth import forget_cached
from llmpi.device.engine import Engine, EngineError

STEADY_WITHIN = 0.03


def measure(
    gguf: Path, workload: dict[str, Any], threads: int | None, rest: dict[str, Any]
) -> dict[str, Any]:
    """One workload: rest, load, warm-up, and every repetition raw.

    Args:
        gguf: the model file.
        workload: the fields of `llmpi.study.Workload`.
        threads: of the engine; by default one per processor.
        rest: `cool_below_c`, `cool_limit_s` and `idle_s` of `llmpi.study`'s devices.

    Returns:
        Record with times in seconds: `start_s` (of the monotonic clock), `pp_s` (the whole prompt),
        `ttft_s` (prompt and first token), `itl_s` (one per generated token).
    """
    threads = threads or environment.machine()["processors"]
    cooled = cool_down(rest["cool_below_c"], rest["cool_limit_s"])
    idle = [time.monotonic(), time.monotonic() + rest["idle_s"]]
    time.sleep(rest["idle_s"])
    before = environment.conditions()
    prompt_tokens, output_tokens = workload["prompt_tokens"], workload["output_tokens"]
    depths = workload["depths"]
    longest = max(prompt_tokens, *depths, 0) + output_tokens
    context_tokens = workload["context_tokens"] or longest
    forget_cached(gguf)
    cold_load_s = load_and_decode(gguf, context_tokens, threads)
    warm_load_s = load_and_decode(gguf, context_tokens, threads)
    say(f"loaded in {cold_load_s:.2f} s cold, {warm_load_s:.2f} s warm")
    with Engine(gguf, context_tokens=context_tokens, threads=threads) as engine:
        prompt = fixed_tokens(engine.vocab_tokens, prompt_tokens)
        forced = (
            fixed_tokens(engine.vocab_tokens, output_tokens, seed=1)
            if workload["sampling"] == "none"
            else None
        )

        def once(name: str) -> dict[str, Any]:
            done = repeat(engine, prompt, output_tokens, forced)
            pp, tg = rates(done, prompt_tokens)
            say(f"{name}: pp {pp:.1f} t/s, tg {tg:.1f} t/s")
            return done

        warmup: list[dict[str, Any]] = []
        while len(warmup) < workload["warmup"] or (
            warmup and len(warmup) < workload["warmup_limit"] and not steady(warmup)
        ):
            warmup.append(once(f"warm-up {len(warmup) + 1}"))
        faults = major_faults()
        count = workload["repetitions"]
        repetitions = [once(f"repetition {i + 1}/{count}") for i in range(count)]
        faults = major_faults() - faults
        deep = [at_depth(engine, depth, output_tokens, count) for depth in depths]
        sustained = sustain(engine, prompt, workload["sustained_s"])
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
        "load": {"cold_s": cold_load_s, "warm_s": warm_load_s},
        "warmup": warmup,
        "steady": steady(warmup),
        "repetitions": repetitions,
        "depths": deep,
        "sustained": sustained,
        "memory": {
            "peak_rss_bytes": status_bytes("VmHWM"),
            "swap_bytes": status_bytes("VmSwap"),
            "major_faults": faults,
        },
        "idle": idle if rest["idle_s"] else None,
        "cooled": cooled,
        "environment": {
            "machine": environment.machine(),
            "engine": engine_info.describe(),
            "before": before,
            "after": environment.conditions(),
        },
    }


def load_and_decode(gguf: Path, context_tokens: int, threads: int) -> float:
    """Seconds to open the model and decode one token, which touches (nearly) all weights.

    Opening alone says little: the file is only mapped then.
    """
    start = time.perf_counter()
    with Engine(gguf, context_tokens=context_tokens, threads=threads) as engine:
        engine.decode(fixed_tokens(engine.vocab_tokens, 1))
        engine.synchronize()
        return time.perf_counter() - start


def repeat(
    engine: Engine, prompt: list[int], output_tokens: int, forced: list[int] | None
) -> dict[str, Any]:
    """One repetition on an empty context; nothing but decoding and sampling between the clocks.

    The first token comes out of the prompt's own logits; each of the `output_tokens` timed steps
    decodes one token and, unless tokens are `forced`, samples the next.
    """
    engine.keep(0)
    itl_ns = []
    clock = time.monotonic_ns  # the samplers' clock
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
        "start_s": start / 1e9,
        "pp_s": (prompt_done - start) / 1e9,
        "ttft_s": (first_token - start) / 1e9,
        "itl_s": [ns / 1e9 for ns in itl_ns],
    }


def steady(warmup: list[dict[str, Any]]) -> bool:
    """Whether the last two repetitions of the warm-up agree on tg."""
    if len(warmup) < 2:
        return False
    last, before = (sum(repetition["itl_s"]) for repetition in (warmup[-1], warmup[-2]))
    return abs(last - before) < STEADY_WITHIN * before


def at_depth(engine: Engine, depth: int, output_tokens: int, count: int) -> dict[str, Any]:
    """Token generation behind `depth` tokens of context."""
    prompt = fixed_tokens(engine.vocab_tokens, depth)
    done = [repeat(engine, prompt, output_tokens, None)["itl_s"] for _ in range(count)]
    say(f"behind {depth} tokens: tg {output_tokens * count / sum(map(sum, done)):.1f} t/s")
    return {"depth_tokens": depth, "itl_s": done}


def sustain(engine: Engine, prompt: list[int], seconds: float) -> list[list[float]]:
    """Generate for so long: [start of each stretch, its tokens per second], about one a second."""
    curve: list[list[float]] = []
    start = mark = time.monotonic()
    tokens = 0
    while mark - start < seconds:
        engine.keep(0)
        engine.decode(prompt)
        for _ in range(engine.context_tokens - len(prompt)):
            engine.decode([engine.greedy()])
            tokens += 1
            now = time.monotonic()
            if now - mark >= 1:
                curve.append([mark, tokens / (now - mark)])
                mark, tokens = now, 0
                if mark - start >= seconds:
                    break
    if curve:
        say(f"sustained for {seconds:g} s: tg {curve[0][1]:.1f} t/s first, {curve[-1][1]:.1f} last")
    return curve


def rates(repetition: dict[str, Any], prompt_tokens: int) -> tuple[float, float]:
    """(pp, tg) of one repetition, in tokens per second."""
    itl = repetition["itl_s"]
    return prompt_tokens / repetition["pp_s"], len(itl) / sum(itl)


def fixed_tokens(vocab_tokens: int, count: int, seed: int = 0) -> list[int]:
    """The same pseudo-random tokens in every run of every model with this vocabulary."""
    return [random.Random(f"llmpi {seed} {i}").randrange(vocab_tokens) for i in range(count)]


def cool_down(below_c: float | None, limit_s: float) -> dict[str, Any] | None:
    """Wait until the machine is cool: how long that took, and whether it is now."""
    if below_c is None:
        return None
    start = time.monotonic()
    while True:
        temperature_c = environment.temperature_c()
        waited_s = time.monotonic() - start
        cool = temperature_c is not None and temperature_c < below_c
        if cool or temperature_c is None or waited_s >= limit_s:
            return {"waited_s": waited_s, "cool": cool, "temperature_c": temperature_c}
        say(f"cooling down: {temperature_c:.1f} of {below_c:g} degrees Celsius")
        time.sleep(min(5.0, limit_s - waited_s))


def major_faults() -> int:
    """Page faults of this process so far that went to storage."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def status_bytes(key: str) -> int | None:
    # Not ru_maxrss: that one survives exec, and would show a larger parent's peak.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def say(text: str) -> None:
    print(f"llmpi: {text}", file=sys.stderr, flush=True)


def main(job: str, out: str) -> None:
    spec = json.loads(Path(job).read_text())
    keep_alive = engine_info.log_to(sys.stderr.write)
    try:
        record = measure(Path(spec["gguf"]), spec["workload"], spec["threads"], spec["rest"])
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record))
    del keep_alive


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
