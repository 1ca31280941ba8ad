"""One setting's turn in a search, in a process of its own (`llmpi.device.measure.turns` starts it).

Short, for it comes again and again: no cold load, no steady state. Only turns of the same block are
held against each other. Its two arguments are JSON files: the job, and where the record goes.
"""

import hashlib
import json
import random
import sys
import time
from pathlib import Path

from llmpi.device.machine.contention import Processors
from llmpi.device.measure import parity
from llmpi.device.measure.memory import status_bytes
from llmpi.device.measure.repeated import context_tokens
from llmpi.device.measure.runtime import lookup_of, settings_of
from llmpi.device.measure.single import Single, fixed_tokens
from llmpi.device.records import TurnJob
from llmpi.engine import info as engine_info
from llmpi.engine.fixed_text import TEXT
from llmpi.engine.llama import Engine, EngineError
from llmpi.engine.records import Output, Position, SingleWorkload, Turn

TEACHER_FORCED_TOKENS = 96
WARM_UP_TOKENS = 4


def turn(job: TurnJob) -> Turn:
    """Every repetition of every workload in a random order, and what is predicted if asked for.

    Raises:
        EngineError: the engine refuses these settings.
    """
    started = time.monotonic()
    asked = {name: _once(one, job["repetitions"]) for name, one in job["workloads"].items()}
    widest = max(map(context_tokens, asked.values()))
    settings = settings_of(job)
    with Engine(Path(job["gguf"]), settings, context_tokens=widest) as engine:
        _touch_all(engine)
        peak = status_bytes("VmHWM")
        speculation = lookup_of(job["runtime"], engine)
        processors = Processors(settings.threads)
        workloads = {
            n: Single(engine, n, one, peak, processors, speculation) for n, one in asked.items()
        }
        every = [name for name in workloads for _ in range(job["repetitions"])]
        order = random.Random(f"llmpi turn {job['seed']}").sample(every, len(every))
        for i, name in enumerate(order):
            workloads[name].repeat(None, f"{i + 1}/{len(order)}")
        records = {name: workload.record() for name, workload in workloads.items()}
        prompt_tokens = max(one["prompt_tokens"] for one in asked.values())
        predicted = output(engine, prompt_tokens) if job["check"] else None
    peaks = [record["memory"]["peak_rss_bytes"] for record in records.values()]
    return {
        "status": "ok",
        "workloads": {name: record["repetitions"] for name, record in records.items()},
        "peak_rss_bytes": max((peak for peak in peaks if peak is not None), default=None),
        "output": predicted,
        "took_s": time.monotonic() - started,
    }


def output(engine: Engine, prompt_tokens: int) -> Output:
    """What is predicted behind a prompt as long as the workloads', decoded as theirs is.

    The text of the parity check ends it, random tokens fill it up: batches have the shapes they
    have in use. The text's last tokens follow one by one, whatever was predicted.
    """
    text = engine.tokenize(TEXT)
    lead = max(0, prompt_tokens + TEACHER_FORCED_TOKENS - len(text))
    tokens = fixed_tokens(engine.vocab_tokens, lead) + text
    engine.resize(prompt_tokens + TEACHER_FORCED_TOKENS)
    engine.decode(tokens[:prompt_tokens])
    positions: list[Position] = []
    digest = hashlib.sha256()
    for token in tokens[prompt_tokens : prompt_tokens + TEACHER_FORCED_TOKENS]:
        [logits] = engine.decode_all([token])
        digest.update(logits.tobytes())
        positions.append(parity.most_likely(logits, parity.TOP))
    return {"positions": positions, "sha256": digest.hexdigest()}


def _once(asked: SingleWorkload, repetitions: int) -> SingleWorkload:
    """A workload without what is not compared, in a context of the size it will have in use."""
    return {
        **asked,
        "context_tokens": context_tokens(asked),
        "repetitions": repetitions,
        "depths": [],
        "sustained_s": 0,
    }


def _touch_all(engine: Engine) -> None:
    """Weights, scratch memory and threads are there before the first clock starts."""
    engine.decode(fixed_tokens(engine.vocab_tokens, WARM_UP_TOKENS))
    for token in fixed_tokens(engine.vocab_tokens, WARM_UP_TOKENS, seed=1):
        engine.decode([token])
        engine.synchronize()
    engine.keep(0)


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    try:
        record = turn(json.loads(Path(job).read_text(encoding="utf-8")))
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
