"""Measure the workloads of one model file, in a process of its own (`supervise` starts it).

Its two arguments are JSON files: the job, and where the measurement goes.
"""

import json
import random
import resource
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from llmpi.device.machine import environment
from llmpi.device.measure import concurrent
from llmpi.device.measure.bandwidth import forget_cached
from llmpi.device.measure.concurrent import Concurrent
from llmpi.device.measure.memory import status_bytes
from llmpi.device.measure.single import Workload, context_tokens, fixed_tokens
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.progress import say
from llmpi.engine.prompt_lookup import PromptLookup

NOT_THE_ENGINES = ("omp_wait_policy", "prompt_lookup")
"""Fields of a runtime that are no `Settings`."""


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A session: rest, load, warm-up, then every repetition of every workload in a random order.

    Args:
        job: `gguf`; `workloads` (id -> fields of a workload of `llmpi.study`); `runtime` (fields
            of `llmpi.study.Runtime`); `threads`, where the runtime says none, by default one per
            processor; `rest` (`cool_below_c`, `cool_limit_s` and `idle_s` of a device); `what` it
            is, which also seeds the order.

    Returns:
        Record with the conditions of the session, and what the `record` of each of its `workloads`
        says, of `Workload` or `Concurrent`.

    Raises:
        EngineError: the model cannot be loaded as asked.
    """
    gguf, settings, rest = Path(job["gguf"]), settings_of(job), job["rest"]
    cooled = cool_down(rest["cool_below_c"], rest["cool_limit_s"])
    idle = [time.monotonic(), time.monotonic() + rest["idle_s"]]
    time.sleep(rest["idle_s"])
    before = environment.conditions()
    if settings.mlock:
        _raise_lock_limit()
    widest = max(map(_least_context, job["workloads"].values()))
    forget_cached(gguf)
    cold_load_s = load_and_decode(gguf, settings, widest)
    warm_load_s = load_and_decode(gguf, settings, widest)
    say(f"loaded in {cold_load_s:.2f} s cold, {warm_load_s:.2f} s warm")
    with Engine(gguf, settings, context_tokens=widest) as engine:
        if settings.mlock:
            _check_locked(gguf)
        peak = status_bytes("VmHWM")
        workloads = {
            name: _workload(engine, name, spec, peak, job["runtime"]["prompt_lookup"])
            for name, spec in job["workloads"].items()
        }
        for workload in workloads.values():
            workload.warm_up()
        order = _mixed([workload.arms() for workload in workloads.values()], seed=job["what"])
        for i, (name, arm) in enumerate(order):
            workloads[name].repeat(arm, f"{i + 1}/{len(order)}")
        after = environment.conditions()  # the sustained phase is there to heat the machine
        for workload in workloads.values():
            workload.sustain()
        locked = status_bytes("VmLck")
    return {
        "status": "ok",
        "settings": asdict(settings) | {key: job["runtime"][key] for key in NOT_THE_ENGINES},
        "load": {"cold_s": cold_load_s, "warm_s": warm_load_s, "locked_bytes": locked},
        "order": order,
        "workloads": {name: workload.record() for name, workload in workloads.items()},
        "idle": idle if rest["idle_s"] else None,
        "cooled": cooled,
        "environment": {
            "machine": environment.machine(),
            "engine": engine_info.describe(),
            "before": before,
            "after": after,
        },
    }


def _workload(
    engine: Engine, name: str, spec: dict[str, Any], peak: int | None, lookup: dict[str, int] | None
) -> Workload | Concurrent:
    if spec["kind"] == "concurrent":
        return Concurrent(engine, name, spec, peak)
    return Workload(engine, name, spec, peak, PromptLookup(**lookup) if lookup else None)


def _least_context(spec: dict[str, Any]) -> int:
    """Tokens of context without which nothing of a workload can be measured."""
    if spec["kind"] == "concurrent":
        return concurrent.context_tokens(spec, spec["conversations"][0])
    return context_tokens(spec)


def _mixed(arms: list[list[tuple[str, int | None]]], seed: str) -> list[tuple[str, int | None]]:
    """All repetitions of all workloads in a random order, so that drift and heat hit all alike."""
    every = [arm for some in arms for arm in some]
    return random.Random(f"llmpi order {seed}").sample(every, len(every))


def settings_of(job: dict[str, Any]) -> Settings:
    """The engine's settings of a job: what its `runtime` leaves open is filled in."""
    own = {field.name for field in fields(Settings)}
    runtime = {key: value for key, value in job["runtime"].items() if key in own}
    threads = runtime["threads"] or job["threads"] or environment.machine()["processors"]
    return Settings(**{**runtime, "threads": threads})


def _raise_lock_limit() -> None:
    """Let this process lock as much memory as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    except (ValueError, OSError):  # not root
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def _check_locked(gguf: Path) -> None:
    """Where weights cannot be locked, llama.cpp only warns: what was asked for would not be so."""
    locked, size = status_bytes("VmLck") or 0, gguf.stat().st_size
    if locked < size / 2:
        raise EngineError(
            f"mlock: {locked / 1e6:.1f} of {size / 1e6:.1f} MB could be locked in memory; raise "
            "`memlock` in /etc/security/limits.conf there, or leave mlock out"
        )


def load_and_decode(gguf: Path, settings: Settings, context_tokens: int) -> float:
    """Seconds to open the model and decode one token, which touches (nearly) all weights.

    Opening alone says little: the file is only mapped then.
    """
    start = time.perf_counter()
    with Engine(gguf, settings, context_tokens=context_tokens) as engine:
        engine.decode(fixed_tokens(engine.vocab_tokens, 1))
        engine.synchronize()
        return time.perf_counter() - start


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


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    try:
        record = measure(json.loads(Path(job).read_text()))
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
