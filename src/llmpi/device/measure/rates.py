"""How fast a board multiplies with each type of weights, and a model of one of them there.

`python -m llmpi.device.measure.rates JOB OUT` is the process that does it; its arguments are JSON
files. Everything has a turn in each of some rounds, in an order of its own, so that what drifts
meanwhile, the clock or the heat, is in all alike.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import IO

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.contention import Processors, say_share
from llmpi.device.machine.limits import limited
from llmpi.device.measure.products import Product, Products, types
from llmpi.device.measure.runtime import settings_of
from llmpi.device.records import Matrix, RatesRequest
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, EngineError
from llmpi.engine.progress import Progress
from llmpi.engine.records import Contention, Failed, MeasuredRates, Rate
from llmpi.engine.supervise import Death, supervise

ROUNDS = 5
TOKENS = 16
"""Decoded in each round, behind one that is not counted: an empty context, as the rates mean it."""
PROMPT_TOKENS = 128
"""At once: the engine's kernels for several are at their pace with these, and a slow board is not
kept for long."""
TIMEOUT_S = 3 * 3600
"""Some minutes, on the slowest boards an hour."""


def run(
    request: RatesRequest, *, log: Callable[[str], None], owner: IO[str] | None = None
) -> MeasuredRates | Failed:
    """Measure here, when the machine is free; a dead engine is a result.

    Args:
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Raises:
        OwnerGoneError: `owner` ended.
        NotPermittedError: the limits cannot be set here.
    """
    policy = request["runtime"]["omp_wait_policy"]
    with (
        machine_alone(request["what"], wait=waiting(log, owner)),
        limited(request["limits"]) as groups,
    ):
        outcome = supervise(
            __name__,
            request,
            writes=MeasuredRates,
            timeout_s=TIMEOUT_S,
            log=log,
            owner=owner,
            groups=groups,
            environment={"OMP_WAIT_POLICY": policy} if policy else {},
        )
    return outcome.failed("rates") if isinstance(outcome, Death) else outcome


def measure(request: RatesRequest) -> MeasuredRates:
    """
    Raises:
        EngineError: the model cannot be loaded, or there is no memory for the matrices.
    """
    started, before = time.monotonic(), environment.conditions()
    settings = settings_of(request)
    at_once = min(PROMPT_TOKENS, settings.ubatch_tokens)
    known = [one for one in request["matrices"] if one["type"] in types()]
    products: dict[int, list[Product]] = {number: [] for number in range(len(known))}
    prompts: dict[int, list[float]] = {number: [] for number in range(len(known))}
    token_s: list[float] = []
    prompt_s: list[float] = []
    contention: list[Contention | None] = []
    processors = Processors(settings.threads)
    steps = Progress(ROUNDS * (len(known) + 1), "products and decodings timed")
    timing = Products(settings.threads, repack=settings.repack, elements=request["elements"])
    with (
        Engine(Path(request["gguf"]), settings, context_tokens=PROMPT_TOKENS) as engine,
        closing(timing),
    ):
        for turn in range(ROUNDS):
            since = processors.now()
            for number in _order(len(known), turn):
                if number is None:
                    token_s.append(decoded_s(engine))
                    prompt_s.append(prompt_read_s(engine, at_once))
                else:
                    products[number].append(_time(timing, known[number]))
                    prompts[number].append(_time(timing, known[number], at_once).seconds)
                steps.at(1)
                steps.add(1)
            if found := processors.since(since):
                say_share([found])
            contention.append(found)
    return {
        "status": "ok",
        "token_s": token_s,
        "prompt_tokens": at_once,
        "prompt_s": prompt_s,
        "rates": [_rate(known[number], products[number], prompts[number]) for number in products],
        "contention": contention,
        "settings": settings.record(),
        "engine": engine_info.describe(),
        "machine": environment.machine(),
        "before": before,
        "after": environment.conditions(),
        "took_s": time.monotonic() - started,
    }


def _order(count: int, turn: int) -> Iterator[int | None]:
    """All matrices, and the model where there is none."""
    every = [None, *range(count)]
    yield from random.Random(f"llmpi rates {turn}").sample(every, len(every))


def _time(timing: Products, asked: Matrix, vectors: int = 1) -> Product:
    return timing.time(asked["type"], asked["rows"], asked["columns"], vectors)


def decoded_s(engine: Engine) -> float:
    """Of a token, in the middle of some that are decoded and sampled one by one."""
    engine.keep(0)
    engine.decode([0])
    token, each = engine.greedy(), []
    for _ in range(TOKENS):
        start = time.perf_counter()
        engine.decode([token])
        token = engine.greedy()
        each.append(time.perf_counter() - start)
    return median(each)


def prompt_read_s(engine: Engine, tokens: int) -> float:
    """Of a prompt of so many, behind one that is not counted."""
    each = []
    for _ in range(2):
        engine.keep(0)
        start = time.perf_counter()
        engine.decode([0] * tokens)
        engine.greedy()
        each.append(time.perf_counter() - start)
    return each[-1]


def _rate(asked: Matrix, found: list[Product], prompt_s: list[float]) -> Rate:
    return {
        **asked,
        "repacked": any(product.repacked for product in found),
        "product_s": [product.seconds for product in found],
        "prompt_product_s": prompt_s,
    }


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    try:
        record = measure(json.loads(Path(job).read_text(encoding="utf-8")))
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
