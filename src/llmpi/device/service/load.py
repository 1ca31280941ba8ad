"""Clients of a service: so many that each ask again once they are answered, or requests that come
by chance, whether others are answered or not."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence

from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Answer, BusyError
from llmpi.device.service.records import ServedRequest

REFUSALS = (429, 503, 504)
"""Statuses with which a service says that it has too much to do."""
COME_BACK_S = 10.0
"""Who is told to come back later waits no longer than that."""
LOOK_EVERY_S = 0.1

Ask = Callable[[int], Answer]
"""The request of a number, from 0; raises `EndpointError`."""
Told = Callable[[ServedRequest], None]


def closed_loop(
    ask: Ask,
    clients: int,
    *,
    requests: int,
    seconds: float = float("inf"),
    over: threading.Event | None = None,
    told: Told = lambda _: None,
) -> list[ServedRequest]:
    """So many clients at once.

    Args:
        requests: of all clients together, at most, and
        seconds: in which they are sent. Those that were sent are waited for, but
        over: ends it at once: what is not answered by then is left out.
        told: called with each request that has ended.

    Returns:
        The requests as they ended.
    """
    over, numbers = over or threading.Event(), itertools.count()
    ended, end = _Ended(told), time.monotonic() + seconds

    def asks_again() -> None:
        while not over.is_set() and time.monotonic() < end and (i := next(numbers)) < requests:
            wait_s = ended.add(*_asked(ask, i, time.monotonic()))
            over.wait(wait_s)

    _until_all([threading.Thread(target=asks_again, daemon=True) for _ in range(clients)], over)
    return ended.so_far()


def arrivals(per_s: float, seed: int, *, requests: int, seconds: float) -> list[float]:
    """When requests come, seconds from the beginning: a Poisson process, the same for a seed."""
    chance, found, at_s = random.Random(seed), list[float](), 0.0
    while len(found) < requests:
        at_s += chance.expovariate(per_s)
        if at_s > seconds:
            break
        found.append(at_s)
    return found


def open_loop(
    ask: Ask,
    due_s: Sequence[float],
    *,
    over: threading.Event | None = None,
    told: Told = lambda _: None,
) -> list[ServedRequest]:
    """Each request when it is due, seconds from now, and its times from then on.

    Args, Returns: as of `closed_loop`.
    """
    over, ended, begun = over or threading.Event(), _Ended(told), time.monotonic()
    sent = []
    for i, at_s in enumerate(due_s):
        due = begun + at_s
        if over.wait(max(0.0, due - time.monotonic())):
            break
        one = threading.Thread(target=lambda i=i, due=due: ended.add(*_asked(ask, i, due)))
        one.daemon = True
        one.start()
        sent.append(one)
    _wait(sent, over)
    return ended.so_far()


class _Ended:
    """Requests as they end, from any thread."""

    def __init__(self, told: Told) -> None:
        self._told, self._lock = told, threading.Lock()
        self._requests: list[ServedRequest] = []

    def add(self, request: ServedRequest, wait_s: float) -> float:
        with self._lock:
            self._requests.append(request)
            self._told(request)
        return wait_s

    def so_far(self) -> list[ServedRequest]:
        with self._lock:
            return [*self._requests]


def _until_all(threads: Sequence[threading.Thread], over: threading.Event) -> None:
    for thread in threads:
        thread.start()
    _wait(threads, over)


def _wait(threads: Sequence[threading.Thread], over: threading.Event) -> None:
    for thread in threads:
        while thread.is_alive() and not over.is_set():
            thread.join(LOOK_EVERY_S)


def _asked(ask: Ask, number: int, start: float) -> tuple[ServedRequest, float]:
    """What became of a request, and how long its client was told to stay away, seconds."""
    try:
        answer = ask(number)
        if not answer.pieces:
            raise EndpointError("the endpoint answers with no text")
    except EndpointError as error:
        refused = error.status in REFUSALS
        again_s = error.again_s if isinstance(error, BusyError) else 1
        request: ServedRequest = {
            "start_s": start,
            "whole_s": time.monotonic() - start,
            "ttft_s": None,
            "outcome": "refused" if refused else "failed",
            "status": error.status,
            "reason": str(error),
            "prompt_tokens": None,
            "output_tokens": None,
        }
        return request, min(COME_BACK_S, again_s) if refused else 0.0
    return {
        "start_s": start,
        "whole_s": time.monotonic() - start,
        "ttft_s": answer.pieces[0][0] / 1e9 - start,
        "outcome": "answered",
        "status": None,
        "reason": None,
        "prompt_tokens": answer.served["prompt_tokens"],
        "output_tokens": answer.served["output_tokens"],
    }, 0.0
