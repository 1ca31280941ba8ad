"""How fast a board multiplies with each type of weights, and decodes a model of one of them.

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
    known = [one for one in request["matrices"] if one["type"] in types()]
    products: dict[int, list[Product]] = {number: [] for number in range(len(known))}
    token_s: list[float] = []
    contention: list[Contention | None] = []
    processors = Processors(settings.threads)
    steps = Progress(ROUNDS * (len(known) + 1), "products and decodings timed")
    timing = Products(settings.threads, repack=settings.repack, elements=request["elements"])
    with (
        Engine(Path(request["gguf"]), settings, context_tokens=TOKENS + 2) as engine,
        closing(timing),
    ):
        for turn in range(ROUNDS):
            since = processors.now()
            for number in _order(len(known), turn):
                if number is None:
                    token_s.append(decoded_s(engine))
                else:
                    products[number].append(_time(timing, known[number]))
                steps.at(1)
                steps.add(1)
            if found := processors.since(since):
                say_share([found])
            contention.append(found)
    return {
        "status": "ok",
        "token_s": token_s,
        "rates": [_rate(known[number], timed) for number, timed in products.items()],
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


def _time(timing: Products, asked: Matrix) -> Product:
    return timing.time(asked["type"], asked["rows"], asked["columns"])


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


def _rate(asked: Matrix, found: list[Product]) -> Rate:
    return {
        **asked,
        "repacked": any(product.repacked for product in found),
        "product_s": [product.seconds for product in found],
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
