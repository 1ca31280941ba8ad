"""What the service on this machine carries: a load of clients here, with the machine's conditions
and its meter beside it.

The clients are on the device itself: the service listens on its loopback, its meter is read here,
and no network is in the times. What they take of the processors is the service's loss: a stream is
some lines a second.
"""

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import IO

from llmpi.device.machine import environment
from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.machine.energy import NoEnergyError, Samples, Window, joules
from llmpi.device.machine.meters import TIERS, is_here
from llmpi.device.machine.sampler import Sample, felt, power, read, sampling
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Answer, Client, UnreachableError
from llmpi.device.measure.over_http import Texts
from llmpi.device.monitor import canary
from llmpi.device.records import EndpointRequest, Meter
from llmpi.device.service import releases
from llmpi.device.service.load import Ask, arrivals, closed_loop, open_loop
from llmpi.device.service.records import (
    Bench,
    BenchRequest,
    Carried,
    ClosedLoad,
    LoadEnergy,
    OpenLoad,
    Refusal,
    ServedRequest,
    ServiceSettings,
)
from llmpi.engine import info
from llmpi.engine.llama import EngineError, Model, Settings
from llmpi.engine.records import Message, NoEnergy
from llmpi.engine.supervise import INTERRUPT, OwnerGoneError

KEY_VARIABLE = "LLMPI_SERVICE_KEY"
WARM_UP_TOKENS = 2
REQUESTS = "llmpi_requests_total"
SAY_EVERY_S = 5.0
MARGIN_S = 60.0
"""A client waits for all that the service may let it wait, and for so long beyond."""
STOPPED = "stopped before it began"
NO_METER = "the device has no meter"


class BenchError(Exception):
    """Nothing can be measured; the message is for a person."""


def run(
    request: BenchRequest, *, log: Callable[[str], None], owner: IO[str] | None = None
) -> Bench | Refusal:
    """Have the service that runs here carry a load, when the machine is free.

    Args:
        log: called with each line of what is said meanwhile.
        owner: a stream: once it ends, or says so, what was measured until then is all.
    """
    try:
        with machine_alone(request["what"], wait=waiting(log, owner)):
            return _bench(request, log, _over(owner))
    except OwnerGoneError:
        return {"error": STOPPED}
    except (BenchError, EndpointError, EngineError) as error:
        return {"error": str(error)}


def _bench(request: BenchRequest, log: Callable[[str], None], over: threading.Event) -> Bench:
    release, settings = _current(request["store"])
    folder = Path(request["store"]) / "service/releases" / release
    asked = _asked_of(request, settings)
    try:
        key = canary.read_key(Path(request["key_file"]) if request["key_file"] else None)
    except canary.ExpectationError as error:
        raise BenchError(str(error)) from None
    if key:
        os.environ[KEY_VARIABLE] = key
    client = Client(asked, plain=True)
    patience_s = _patience_s(settings)
    with Model(releases.model_of(folder), Settings(threads=1), vocabulary_alone=True) as words:
        texts = Texts(words)
        _warm_up(client, texts, patience_s)
        ask = _asking(client, request, texts, patience_s)
    counted = canary.service(request["url"], key=key, timeout_s=MARGIN_S)
    carried = _carried(request, ask, log, over, counted)
    if _current(request["store"])[0] != release:
        raise BenchError("another release was switched to meanwhile; ask again")
    manifest = json.loads((folder / releases.MANIFEST).read_text(encoding="utf-8"))
    return {
        "release": release,
        "settings": settings,
        "runtime": _runtime(folder),
        "gguf_sha256": [model["sha256"] for model in manifest["models"].values()],
        "where": {"machine": environment.machine(), "engine": info.describe()},
        "carried": carried,
        "monotonic_s": time.monotonic(),
        "wall_s": time.time(),
    }


def _warm_up(client: Client, texts: Texts, patience_s: float) -> None:
    """
    Raises:
        UnreachableError: there is nobody, or nobody who lets one in.
    """
    try:
        client.complete(texts.of(WARM_UP_TOKENS), WARM_UP_TOKENS, patience_s)
    except UnreachableError:
        raise
    except EndpointError:
        pass  # what is wrong with its answers is told of those that count


def _current(store: str) -> tuple[str, ServiceSettings]:
    """The release that is served, and its settings."""
    release = releases.state(Path(store))["current"]
    if release is None:
        raise BenchError("no service is installed; llmpi service install does it")
    try:
        return release, releases.check(Path(store) / "service/releases" / release)
    except releases.ReleaseError as error:
        raise BenchError(str(error)) from None


def _runtime(folder: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / "expectation.json").read_text(encoding="utf-8"))
        runtime = found.get("runtime") if isinstance(found, dict) else None
        return runtime if isinstance(runtime, str) else None
    return None


def _asked_of(request: BenchRequest, settings: ServiceSettings) -> EndpointRequest:
    return {
        "url": f"{request['url']}/v1",
        "api": "completions",
        "key_variable": KEY_VARIABLE if request["key_file"] else None,
        "model": f"{settings['model']}/{settings['quant']}",
        "claimed": {"file": None, "type": None, "template": None},
    }


def _patience_s(settings: ServiceSettings) -> float:
    """All who wait before it may take their whole time."""
    turns = 1 + -(-settings["waiting"] // settings["slots"])
    return turns * settings["answer_s"] + MARGIN_S


def _asking(client: Client, request: BenchRequest, texts: Texts, patience_s: float) -> Ask:
    """What asks the request of a number; all prompts are made beforehand."""
    tokens, prompts = request["output_tokens"], request["prompts"]
    if prompts["kind"] == "questions":
        chats = [
            _distinct(texts, chat) if request["distinct"] else chat
            for chat in islice(cycle(request["questions"]), request["requests"])
        ]

        def chat(number: int) -> Answer:
            return client.chat(chats[number], tokens, patience_s, thinks=False)

        return chat
    size = prompts["prompt_tokens"]
    if request["distinct"]:
        every = [texts.of(size) for _ in range(request["requests"])]
    else:
        every = [texts.of(size)] * request["requests"]

    def complete(number: int) -> Answer:
        return client.complete(every[number], tokens, patience_s)

    return complete


def _distinct(texts: Texts, chat: list[Message]) -> list[Message]:
    """The same behind a number of its own."""
    first, *others = chat
    return [{**first, "content": f"{texts.number()}\n{first['content']}"}, *others]


# --- a load ---------------------------------------------------------------------------------------


def _carried(
    request: BenchRequest,
    ask: Ask,
    log: Callable[[str], None],
    over: threading.Event,
    counted: canary.Ask,
) -> Carried:
    with tempfile.TemporaryDirectory(prefix="llmpi-") as scratch:
        out = Path(scratch) / "samples"
        before, counters = environment.conditions(), _counters(counted)
        started, meter = time.monotonic(), request["meter"]
        began = _now()
        with sampling(meter, out):
            made = _loaded(request, ask, _Progress(request, log, out), over)
        samples = read(out)
    later = _counters(counted)
    computed = _rise(counters, later, canary.PP[0])
    every = _rise(counters, later, REQUESTS)
    others = None if every is None or over.is_set() else max(0, round(every) - _heard(made))
    return {
        "load": request["load"],
        "prompts": request["prompts"],
        "distinct": request["distinct"],
        "output_tokens": request["output_tokens"],
        "requests": request["requests"],
        "seconds": request["seconds"],
        "started": began,
        "ended": _now(),
        "stopped": over.is_set(),
        "requests_made": made,
        "computed_prompt_tokens": round(computed) if computed is not None and others == 0 else None,
        "others": others,
        "before": before,
        "after": environment.conditions(),
        "energy": energy_of(made, _samples(samples, meter, started), meter),
    }


def _loaded(
    request: BenchRequest, ask: Ask, progress: "_Progress", over: threading.Event
) -> list[ServedRequest]:
    load, most, seconds = request["load"], request["requests"], request["seconds"]
    if load["kind"] == "closed":
        return closed_loop(
            ask,
            load["clients"],
            requests=most,
            seconds=seconds,
            over=over,
            told=progress,
        )
    due_s = arrivals(load["per_s"], load["seed"], requests=most, seconds=seconds)
    return open_loop(ask, due_s, over=over, told=progress)


class _Progress:
    """Says now and then what has become of the requests."""

    def __init__(self, request: BenchRequest, log: Callable[[str], None], samples: Path) -> None:
        self._most, self._log, self._samples = request["requests"], log, samples
        self._name, self._counts = name_of(request["load"]), {"answered": 0, "refused": 0}
        self._ended, self._said_at = 0, time.monotonic()

    def __call__(self, request: ServedRequest) -> None:
        self._ended += 1
        self._counts[request["outcome"]] = self._counts.get(request["outcome"], 0) + 1
        if time.monotonic() - self._said_at > SAY_EVERY_S or self._ended == self._most:
            self._said_at = time.monotonic()
            told = ", ".join(f"{count} {what}" for what, count in self._counts.items() if count)
            here = felt(self._samples)
            self._log(f"llmpi: {self._ended}/{self._most} {self._name}: {told}{here}")


def name_of(load: ClosedLoad | OpenLoad) -> str:
    """A load in words."""
    if load["kind"] == "open":
        return f"{load['per_s']:g} requests/s"
    return f"{load['clients']} client{'s' if load['clients'] > 1 else ''}"


def _over(owner: IO[str] | None) -> threading.Event:
    """Set once `owner` has ended, or was told to."""
    over = threading.Event()

    def watch(owner: IO[str]) -> None:
        said = b" "
        while said and INTERRUPT not in said:
            said = os.read(owner.fileno(), 1024)
        over.set()

    if owner is not None:
        threading.Thread(target=watch, args=[owner], daemon=True).start()
    return over


def _heard(made: Sequence[ServedRequest]) -> int:
    """How many the service counted: all that reached it."""
    return sum(one["outcome"] == "answered" or one["status"] is not None for one in made)


def _counters(counted: canary.Ask) -> dict[str, float]:
    """The service's own; none where it does not tell."""
    try:
        return canary.counters(counted("/metrics", None))
    except canary.CanaryError:
        return {}


def _rise(before: dict[str, float], after: dict[str, float], name: str) -> float | None:
    return after[name] - before.get(name, 0.0) if name in after else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- joules ---------------------------------------------------------------------------------------


def _samples(found: list[Sample], meter: Meter, started: float) -> Samples | str:
    """What the meter said, or why nothing."""
    if meter["kind"] == "constant":
        return Samples([started, time.monotonic()], [meter["power_w"]] * 2, [])
    if is_here(meter):
        return power(found)
    return NO_METER if meter["kind"] == "none" else "the workstation reads it"


def energy_of(
    made: Sequence[ServedRequest], samples: Samples | str, meter: Meter
) -> LoadEnergy | NoEnergy:
    """The energy from the first request to the last end.

    Args:
        made: stamped on the clock of `samples`.
        samples: or why there are none.
    """
    tier = TIERS.get(meter["kind"])
    if isinstance(samples, str) or not made:
        reason = samples if isinstance(samples, str) else "nothing was asked"
        return {"status": "none", "tier": tier, "reason": reason}
    assert tier, "who has samples has a meter"
    window = Window(
        min(one["start_s"] for one in made), max(one["start_s"] + one["whole_s"] for one in made)
    )
    try:
        [energy_j], by_counter = joules(samples, [window])
    except NoEnergyError as error:
        return {"status": "none", "tier": tier, "reason": str(error)}
    return {
        "status": "ok",
        "tier": tier,
        "meter": meter["kind"],
        "by": "counter" if by_counter else "power",
        "energy_j": energy_j,
        "samples": sum(window.start <= at <= window.end for at in samples.times),
    }
