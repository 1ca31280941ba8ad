"""`llmpi service bench`: what the service on a device carries, measured there and kept here."""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from llmpi import layout
from llmpi.aligned import aligned
from llmpi.device.service.bench import STOPPED, energy_of, name_of
from llmpi.device.service.records import (
    Bench,
    BenchRequest,
    Carried,
    ClosedLoad,
    LoadAsked,
    OpenLoad,
    QuestionPrompts,
    Refusal,
    ServiceBench,
    ServiceSettings,
    TextPrompts,
)
from llmpi.engine.records import Clock, Message
from llmpi.errors import LlmpiError
from llmpi.operate.service import url
from llmpi.operate.units import key_path
from llmpi.quality.squad import metric as squad
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.records import Questions
from llmpi.records import RecordError, now, read, write_json
from llmpi.remote import requests
from llmpi.remote.ask import PART_BYTES
from llmpi.remote.connection import connected
from llmpi.remote.machine import Device
from llmpi.remote.plugs import Timeline, plug_sampling
from llmpi.study.devices import SshDevice
from llmpi.study.service import Service
from llmpi.study.study import Study
from llmpi.summary.service_loads import CarriedLoad, Quantiles, carried_loads

INTERRUPTED = 130
"""As a shell says it."""


class Prompts(NamedTuple):
    """What is asked, and at most how many tokens are answered."""

    asked: TextPrompts | QuestionPrompts
    questions: list[list[Message]]
    output_tokens: int


def run(study: Study, devices: Mapping[str, SshDevice], args: argparse.Namespace) -> int:
    """Measure one device after the other; 1 where one could not be.

    Raises:
        LlmpiError: what is asked for cannot be.
        KeyboardInterrupt: (as `INTERRUPTED`, where something was measured) so it was told.
    """
    service = study.service
    assert service
    prompts = prompts_for(study, args.prompt_tokens, args.output_tokens)
    loads = loads_of(args)
    failed = 0
    for name, reached in devices.items():
        try:
            is_whole = _bench(study, service, name, reached, prompts, loads, args)
        except LlmpiError as error:  # the others are measured all the same
            print(f"llmpi: {error}", file=sys.stderr)
            failed += 1
            continue
        if not is_whole:
            print("llmpi: stopped; what was measured is kept", file=sys.stderr)
            return INTERRUPTED
    return min(1, failed)


def loads_of(args: argparse.Namespace) -> list[ClosedLoad | OpenLoad]:
    """One after the other."""
    if args.rate:
        return [{"kind": "open", "per_s": rate, "seed": args.seed} for rate in args.rate]
    return [{"kind": "closed", "clients": clients} for clients in args.clients]


def prompts_for(study: Study, prompt_tokens: int | None, output_tokens: int | None) -> Prompts:
    """The study's own questions where it has some and no length was asked for; else texts.

    Raises:
        LlmpiError: prompt and answer are longer than the service's context.
    """
    service = study.service
    assert service
    task = next(iter(study.squad_tasks), None)
    path = task and Path(layout.at(layout.QUESTIONS, study=study.study, task=task))
    if prompt_tokens is None and task and path and path.is_file():
        asked = study.squad_tasks[task]
        found = questions_of(read(path, Questions), asked.examples, asked.prompt)
        kept = list(_that_fit(found))
        kind: QuestionPrompts = {"kind": "questions", "task": task, "questions": len(kept)}
        return Prompts(kind, kept, output_tokens or asked.max_new_tokens)
    workload = next(iter(study.singles.values()))
    size, output = prompt_tokens or workload.prompt_tokens, output_tokens or workload.output_tokens
    if size + output > service.context_tokens:
        raise LlmpiError(
            f"a prompt of {size} tokens and an answer of {output} have no room in the service's "
            f"context_tokens, {service.context_tokens}; ask for less with --prompt-tokens and "
            "--output-tokens"
        )
    return Prompts({"kind": "texts", "prompt_tokens": size}, [], output)


def questions_of(found: Questions, examples: int, prompt: int) -> list[list[Message]]:
    """As the task asks them; of each passage the first, then of each the second, and so on."""
    paragraphs = squad.parse(found["squad"], "questions")
    most = max((len(paragraph.questions) for paragraph in paragraphs), default=0)
    return [
        messages(paragraph.context, paragraph.questions[i].question, examples, prompt)  # type: ignore[arg-type]  # as the config has it
        for i in range(most)
        for paragraph in paragraphs
        if i < len(paragraph.questions)
    ]


def _that_fit(found: Sequence[list[Message]]) -> Iterator[list[Message]]:
    """As many as go at once: a command's argument is bounded."""
    taken = 0
    for one in found:
        taken += len(json.dumps(one))
        if taken > PART_BYTES:
            return
        yield one


# --- on a device ----------------------------------------------------------------------------------


def _bench(
    study: Study,
    service: Service,
    name: str,
    reached: SshDevice,
    prompts: Prompts,
    loads: Sequence[ClosedLoad | OpenLoad],
    args: argparse.Namespace,
) -> bool:
    """Each load after the other, each kept as soon as it is over; whether all were to their end."""
    path = record_of(study.study, name)
    _before(path)  # what is no record is told before anything is measured
    with connected(name, reached) as device:
        for load in loads:
            asked: LoadAsked = {
                "load": load,
                "prompts": prompts.asked,
                "distinct": not args.same_beginning,
                "output_tokens": prompts.output_tokens,
                "requests": args.requests,
                "seconds": args.duration,
            }
            answer = _measured(device, study, service, reached, asked, prompts.questions)
            if answer["carried"]["requests_made"]:
                record = kept(_before(path), answer, study.study, name)
                write_json(path, record)
                print(f"{name}: {name_of(load)}: {_told(answer['carried'])}", flush=True)
            if answer["carried"]["stopped"]:
                _show(name, path)
                return False
    _show(name, path)
    return True


def _measured(
    device: Device,
    study: Study,
    service: Service,
    reached: SshDevice,
    asked: LoadAsked,
    questions: list[list[Message]],
) -> Bench:
    """
    Raises:
        LlmpiError: nothing is served there, or the device or the way to it failed.
    """
    meter, timeline = requests.meter(reached.meter), Timeline()
    request: BenchRequest = {
        **asked,
        "what": f"{study.study}: service bench",
        "store": device.store,
        "url": url(service),
        "key_file": key_path(device.store) if service.key_file else None,
        "questions": questions,
        "meter": meter,
    }
    with tempfile.TemporaryDirectory(prefix="llmpi-") as scratch:
        with plug_sampling(reached.meter, Path(scratch) / "plug") as plug:
            answer = _asked(device, request)
            timeline.heard(time.time(), answer["wall_s"])
        if plug:
            clock: Clock = {
                "monotonic_s": answer["monotonic_s"],
                "wall_s": answer["wall_s"],
                "ahead_s": timeline.skew_s,
            }
            samples = plug.samples(clock, timeline.skew_s)
            made = answer["carried"]["requests_made"]
            answer["carried"]["energy"] = energy_of(made, samples, meter)
    return answer


def _asked(device: Device, request: BenchRequest) -> Bench:
    """What the code of the release that is served there answers: it knows its own engine."""
    program = f"{device.store}/service/current/runtime/bin/llmpi-device"

    def log(line: str) -> None:
        if line.startswith("llmpi: "):
            print(f"{device.name}: {line.removeprefix('llmpi: ')}", flush=True)

    argv = [program, "bench", json.dumps(request)]
    done = device.run(
        argv, log=log, check=False, timeout_s=None, what="llmpi-device bench", hears_ctrl_c=True
    )
    if done.status != 0:
        said = done.stderr.strip().splitlines() or ["no message"]
        why = said[-1]
        if done.status in (126, 127):
            why = "no service is installed there; llmpi service install does it"
        elif "invalid choice" in why:
            why = "its release is of an llmpi that cannot do this; llmpi service install updates it"
        raise LlmpiError(f"device {device.name}: {why}")
    answer = device.checked(done.stdout, Bench | Refusal, "llmpi-device bench")
    if "error" in answer:
        if answer["error"] == STOPPED:
            raise KeyboardInterrupt
        raise LlmpiError(f"device {device.name}: {answer['error']}")
    return answer


# --- the record -----------------------------------------------------------------------------------


def record_of(study: str, device: str) -> Path:
    """Where what a device carries is kept."""
    return Path(layout.at(layout.SERVICE, study=study, device=device))


def _before(path: Path) -> ServiceBench | None:
    """What is known already.

    Raises:
        RecordError: it is no such record.
    """
    if not path.is_file():
        return None
    try:
        return read(path, ServiceBench)
    except RecordError as error:
        raise RecordError(f"{error}; remove it, and measure again") from None


def kept(before: ServiceBench | None, answer: Bench, study: str, device: str) -> ServiceBench:
    """What is known now: of the same release all loads, of each kind the last one.

    One that was stopped does not take the place of one that was not.
    """
    new = answer["carried"]
    loads = before["loads"] if before and before["release"] == answer["release"] else []
    alike = [one for one in loads if _kind(one) == _kind(new)]
    if not (new["stopped"] and any(not one["stopped"] for one in alike)):
        loads = [one for one in loads if one not in alike] + [new]
    return {
        "status": "ok",
        "study": study,
        "device": device,
        "client": "on the device",
        "release": answer["release"],
        "settings": answer["settings"],
        "runtime": answer["runtime"],
        "gguf_sha256": answer["gguf_sha256"],
        "where": answer["where"],
        "seen": {"release": answer["release"], "at": now()},
        "loads": loads,
    }


def _kind(one: Carried) -> tuple[object, ...]:
    return one["load"], one["prompts"], one["distinct"], one["output_tokens"]


def seen(study: str, device: str, release: str | None) -> None:
    """Note what a device serves now, where something was measured of what it served."""
    path = record_of(study, device)
    with contextlib.suppress(RecordError):  # who measures again is told
        record = _before(path)
        if record and record["seen"]["release"] != release:
            write_json(path, {**record, "seen": {"release": release, "at": now()}})


# --- on the terminal ------------------------------------------------------------------------------


def _told(carried: Carried) -> str:
    energy = carried["energy"]
    joules = energy["reason"] if energy["status"] == "none" else f"{energy['energy_j']:.0f} J"
    return f"{len(carried['requests_made'])} requests, {joules}"


def _show(name: str, path: Path) -> None:
    record = _before(path)
    if record is None:
        return
    print(f"\n{name}: {served(record)}")
    for line in table(carried_loads(record)):
        print(f"  {line}")
    print(f"  {path}")


def served(record: ServiceBench) -> str:
    """What was served, in words."""
    settings: ServiceSettings = record["settings"]
    runtime = f" {record['runtime']}" if record["runtime"] else ""
    return (
        f"{settings['model']} {settings['quant']}{runtime}, release {record['release']}, "
        f"{settings['slots']} slots of {settings['context_tokens']} tokens, "
        f"{settings['waiting']} may wait; clients {record['client']}"
    )


HEADS = (
    *("load", "asked", "answered", "refused", "failed", "TTFT p50", "p95", "p99", "answer p50"),
    *("p95", "p99", "answers/min", "J/answer"),
)


def table(loads: Sequence[CarriedLoad]) -> list[str]:
    """A line for each load; seconds where nothing else is said."""
    rows = [HEADS, *map(_row, loads)]
    notes = [f"{name_of(one.carried['load'])}: {note}" for one in loads for note in _notes(one)]
    return [*aligned(rows), *notes]


def _row(one: CarriedLoad) -> tuple[str, ...]:
    refused = ", ".join(f"{count} ({status})" for status, count in one.refused.items())
    joules = "" if one.j_per_answer is None else f"{one.j_per_answer:.1f} {one.tier}"
    return (
        name_of(one.carried["load"]),
        *(str(one.asked), str(one.answered), refused or "0", str(one.failed)),
        *_seconds(one.ttft_s),
        *_seconds(one.whole_s),
        f"{one.answered_per_min:.1f}",
        joules,
    )


def _seconds(found: Quantiles) -> tuple[str, ...]:
    return tuple("" if value is None else f"{value:.2f}" for value in found)


def _notes(one: CarriedLoad) -> Iterator[str]:
    if one.carried["stopped"]:
        yield "stopped before its end"
    if one.reasons:
        yield f"failed: {one.reasons[0]}"
    if one.no_energy:
        yield f"no joules: {one.no_energy}"
    if one.carried["others"]:
        yield f"{one.carried['others']} requests of others came meanwhile"
    if one.cached_pct is not None and one.cached_pct >= 1:
        yield f"{one.cached_pct:.0f} % of the prompts' tokens came out of the cache"
    if one.throttled:
        yield "the board was throttled"
