"""Measure the workloads of one model file, in a process of its own (`supervise` starts it).

Its two arguments are JSON files: the job, and where the measurement goes.
"""

import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmpi.device import engine_info, environment
from llmpi.device.bandwidth import forget_cached
from llmpi.device.engine import Engine, EngineError, Settings
from llmpi.device.say import say
from llmpi.device.workload import Workload, context_tokens, fixed_tokens, mixed, status_bytes

NOT_THE_ENGINES = ("omp_wait_policy", "tune")
"""Fields of a runtime that are for OpenMP and for the workstation."""


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A session: rest, load, warm-up, then every repetition of every workload in a random order.

    Args:
        job: `gguf`; `workloads` (id -> fields of `llmpi.study.Workload`); `runtime` (fields of
            `llmpi.study.Runtime`); `threads`, where the runtime says none, by default one per
            processor; `rest` (`cool_below_c`, `cool_limit_s` and `idle_s` of a device); `what` it
            is, which also seeds the order.

    Returns:
        Record with the conditions of the session, and what `Workload.record` says of each of its
        `workloads`.

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
    widest = max(map(context_tokens, job["workloads"].values()))
    forget_cached(gguf)
    cold_load_s = load_and_decode(gguf, settings, widest)
    warm_load_s = load_and_decode(gguf, settings, widest)
    say(f"loaded in {cold_load_s:.2f} s cold, {warm_load_s:.2f} s warm")
    with Engine(gguf, settings, context_tokens=widest) as engine:
        if settings.mlock:
            _check_locked(gguf)
        peak = status_bytes("VmHWM")
        workloads = {w: Workload(engine, w, spec, peak) for w, spec in job["workloads"].items()}
        for workload in workloads.values():
            workload.warm_up()
        order = mixed(list(workloads.values()), seed=job["what"])
        for i, (name, depth) in enumerate(order):
            workloads[name].repeat(depth, f"{i + 1}/{len(order)}")
        after = environment.conditions()  # the sustained phase is there to heat the machine
        for workload in workloads.values():
            workload.sustain()
        locked = status_bytes("VmLck")
    return {
        "status": "ok",
        "settings": asdict(settings) | {"omp_wait_policy": job["runtime"]["omp_wait_policy"]},
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


def settings_of(job: dict[str, Any]) -> Settings:
    """The engine's settings of a job: what its `runtime` leaves open is filled in."""
    runtime = {key: value for key, value in job["runtime"].items() if key not in NOT_THE_ENGINES}
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
