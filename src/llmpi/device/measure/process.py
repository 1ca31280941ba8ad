"""Measure the workloads of one model file, in a process of its own (`supervise` starts it).

Its two arguments are JSON files: the job, and where the measurement goes.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from llmpi.device.machine import environment
from llmpi.device.machine.contention import Processors
from llmpi.device.measure import concurrent, conversation
from llmpi.device.measure.answers import Answers, sample_tokens
from llmpi.device.measure.concurrent import Concurrent
from llmpi.device.measure.conversation import Conversation
from llmpi.device.measure.memory import forget_cached, status_bytes
from llmpi.device.measure.repeated import context_tokens
from llmpi.device.measure.rest import rested
from llmpi.device.measure.rounds import measured
from llmpi.device.measure.runtime import settings_of, speculation_of
from llmpi.device.measure.single import Single, fixed_tokens
from llmpi.device.records import SessionJob
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, EngineError, LacksSettingError, Settings
from llmpi.engine.packed import unpacked
from llmpi.engine.progress import say
from llmpi.engine.records import AnyWorkload, LoadedSession, RepeatedWorkload, Sample
from llmpi.engine.shards import parts
from llmpi.engine.speculation import Speculation

ON_DEMAND = re.compile(r"tensor (\S+) \(size = \d+ MiB\) lazy read enabled")
"""What the engine says of them (llama-model-loader.cpp)."""


def measure(job: SessionJob) -> LoadedSession:
    """A session: rest, load, warm-up, then every repetition of every workload in a random order,
    and what was disturbed once more.

    Raises:
        EngineError: the model cannot be loaded as asked.
    """
    gguf, settings = Path(job["gguf"]), settings_of(job)
    end = time.monotonic() + sum(asked["timeout_s"] for asked in job["workloads"].values())
    cooled, idle, before = rested(job["rest"])
    if settings.mlock:
        _raise_lock_limit()
    samples = unpacked(job["samples"]) if "samples" in job else {}
    widest = max(_least_context(one, samples.get(w)) for w, one in job["workloads"].items())
    files = [gguf, *([Path(job["draft"])] if "draft" in job else [])]
    for part in (part for file in files for part in parts(file)):
        forget_cached(part)
    cold_load_s = sum(load_and_decode(file, settings, widest) for file in files)
    with engine_info.overheard() as said:
        warm_load_s = sum(load_and_decode(file, settings, widest) for file in files)
    on_demand = ON_DEMAND.findall("".join(said))
    if settings.lazy == "on" and not on_demand:
        say("lazy: on makes no difference here: the engine reads no tensor of this model on demand")
    say(f"loaded in {cold_load_s:.2f} s cold, {warm_load_s:.2f} s warm")
    with (
        Engine(gguf, settings, context_tokens=widest) as engine,
        speculation_of(job, engine) as speculation,
    ):
        if settings.mlock:
            _check_locked(files)
        peak = status_bytes("VmHWM")
        processors = Processors(settings.threads, job["sensors"])
        workloads = {
            name: Answers(engine, name, asked, samples[name], peak, processors)
            if asked["kind"] == "answers"
            else _workload(engine, name, asked, gguf.parent, peak, speculation, processors)
            for name, asked in job["workloads"].items()
        }
        order = measured(job, workloads, end, _sustained_s(job))
        after = environment.conditions()  # the sustained phase is there to heat the machine
        for workload in workloads.values():
            workload.sustain()
        locked = status_bytes("VmLck")
    return {
        "status": "ok",
        "settings": {
            **settings.record(),
            "omp_wait_policy": job["runtime"]["omp_wait_policy"],
            "prompt_lookup": job["runtime"]["prompt_lookup"],
            "draft": job["runtime"]["draft"],
        },
        "load": {
            "cold_s": cold_load_s,
            "warm_s": warm_load_s,
            "locked_bytes": locked,
            "on_demand": on_demand,
        },
        "order": order,
        "workloads": {name: workload.record() for name, workload in workloads.items()},
        "idle": idle,
        "cooled": cooled,
        "environment": {
            "machine": environment.machine(),
            "engine": engine_info.describe(),
            "before": before,
            "after": after,
        },
    }


def _workload(
    engine: Engine,
    name: str,
    asked: RepeatedWorkload,
    folder: Path,
    peak: int | None,
    speculation: Speculation | None,
    processors: Processors,
) -> Single | Concurrent | Conversation:
    if asked["kind"] == "concurrent":
        return Concurrent(engine, name, asked, peak, processors)
    if asked["kind"] == "conversation":
        return Conversation(engine, name, asked, folder, peak, processors)
    return Single(engine, name, asked, peak, processors, speculation)


def _sustained_s(job: SessionJob) -> float:
    return sum(one["sustained_s"] for one in job["workloads"].values() if one["kind"] == "single")


def _least_context(asked: AnyWorkload, sample: Sample | None) -> int:
    """Tokens of context without which nothing of a workload can be measured."""
    if asked["kind"] == "answers":
        assert sample
        return sample_tokens(sample)
    if asked["kind"] == "concurrent":
        return concurrent.context_tokens(asked, asked["conversations"][0])
    if asked["kind"] == "conversation":
        return conversation.context_tokens(asked)
    return context_tokens(asked)


def _raise_lock_limit() -> None:
    """Let this process lock as much memory as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    except (ValueError, OSError):  # not root
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def _check_locked(files: Sequence[Path]) -> None:
    """Where weights cannot be locked, llama.cpp only warns: what was asked for would not be so."""
    locked = status_bytes("VmLck") or 0
    size = sum(part.stat().st_size for file in files for part in parts(file))
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


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    asked: SessionJob = json.loads(Path(job).read_text(encoding="utf-8"))
    try:
        record = measure(asked)
    except LacksSettingError as error:
        sys.exit(f"{asked['what']}: {error}")
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
