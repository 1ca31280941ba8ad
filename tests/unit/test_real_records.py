"""The types of what a device measures are true: sessions measured here and now fit them, and every
field that they declare is in one of these."""

import json
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from endpoint import END, Endpoint, events, piece, request
from pydantic import TypeAdapter, ValidationError
from stand_ins import HWMON_FILE, hwmon, vcgencmd
from tiny_llama import tiny_llama
from typing_extensions import is_typeddict

from llmpi.device.records import EndpointRequest
from llmpi.engine.records import Failed, LostPrefix, Sample, SessionRecord
from llmpi.records import check, sha256_of
from llmpi.remote import requests
from llmpi.remote.benchmark import benchmark
from llmpi.remote.connection import connected
from llmpi.remote.deploy import Sent, put_model
from llmpi.remote.provision import Parts, provision
from llmpi.remote.records import Receipt
from llmpi.study.devices import Limits, LocalDevice
from llmpi.study.measuring import (
    AnswersWorkload,
    ConcurrentWorkload,
    ConversationWorkload,
    Draft,
    PromptLookup,
    Runtime,
    Workload,
)
from llmpi.study.meters import HwmonMeter, NoMeter

QUICK = {"output_tokens": 4, "repetitions": 2, "warmup": 1, "warmup_limit": 1}
SINGLE = Workload(prompt_tokens=8, **QUICK)
USERS = {"kind": "concurrent", "system_tokens": 4, "prompt_tokens": 4, **QUICK}
TALK = {"kind": "conversation", "system_tokens": 4, "prompt_tokens": 4, **QUICK}
SEVERAL = {
    "chat": Workload(prompt_tokens=100, prompt="passage", depths=[6], sustained_s=1.2, **QUICK),
    "slow": SINGLE.model_copy(update={"timeout_s": 0.001}),  # its share of the time is none
    # More conversations than a batch has tokens cannot be.
    "users": ConcurrentWorkload.model_validate({**USERS, "conversations": [1, 20, 21]}),
    "talk": ConversationWorkload.model_validate({**TALK, "turns": 3}),
    "real": AnswersWorkload(kind="answers", task="qa"),
    "refused": AnswersWorkload(kind="answers", task="other"),
    "crowd": ConcurrentWorkload.model_validate({**USERS, "conversations": [20, 21]}),
}
# A passage needs more tokens than these: the engine's process ends.
ASKED: Sample = {
    "status": "ok",
    "task": "qa",
    "of": 2,
    "left_out": 0,
    "max_new_tokens": 4,
    "marks": None,
    "questions": [{"number": n, "prompt": [*range(4 + n)], "thought": None} for n in (0, 1)],
    "gguf_sha256": "",
}
REFUSED: Failed = {"status": "failed", "stage": "sample", "reason": "no template"}
DEADLY = {"chat": SINGLE, "short": SINGLE.model_copy(update={"prompt": "passage"})}
QUOTING = Runtime(batch_tokens=16, ubatch_tokens=16, kv_cache="q8_0", prompt_lookup=PromptLookup())
DRAFTED = Runtime(kv_cache="q8_0", draft=Draft(model="tiny", quant="F16"))


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Records as they are written: of all kinds of workloads; of one that killed the engine and one
    that did not; of an endpoint; of a file that is no model."""
    folder = tmp_path_factory.mktemp("here")
    broken = folder / "broken.gguf"
    broken.write_bytes(b"GGUF, but no more")
    tool, rails = folder / "bin/vcgencmd", folder / "rails"
    with (
        pytest.MonkeyPatch.context() as patch,
        hwmon(folder),
        vcgencmd(tool, rails, rails_seen_as=str(rails)),
    ):
        patch.setenv("PATH", str(tool.parent), prepend=":")
        meter = HwmonMeter(kind="hwmon", path=str(folder / HWMON_FILE))
        rest = {"idle_s": 0.5, "cool_below_c": 99, "cool_limit_s": 0}
        device = LocalDevice(
            transport="local",
            store=str(folder / "store"),
            threads=1,
            limits=Limits(),
            meter=meter,
            **rest,
        )
        tiny = tiny_llama(folder)
        bare = device.model_copy(update={"meter": NoMeter()})
        several = measured(device, tiny, SEVERAL, QUOTING)
        tool.write_text('#!/bin/sh\necho "Can\'t open device file: /dev/vcio"; exit 255\n')
        with Endpoint(short_of_breath, pace_s=0.1) as there:
            both = {"chat": SINGLE, "long": SINGLE.model_copy(update={"output_tokens": 30})}
            served = measured(bare, tiny, both, Runtime(), request(there.address))
        return [
            several,
            measured(bare, tiny, DEADLY, Runtime()),
            served,
            measured(bare, broken, {"chat": SINGLE}, Runtime()),
            measured(bare, tiny, {"chat": SINGLE}, DRAFTED, draft=tiny),
            measured(bare, tiny, {"chat": SINGLE}, DRAFTED, draft=broken),
        ]


def short_of_breath(asked: dict[str, Any]) -> bytes:
    """An endpoint that answers in few tokens or not at all."""
    few = asked["max_tokens"] <= 5
    return events(*[piece("a")] * 5, END) if few else events({"error": "too long"})


def measured(
    device: LocalDevice,
    gguf: Path,
    workloads: dict[str, Any],
    runtime: Runtime,
    endpoint: EndpointRequest | None = None,
    draft: Path | None = None,
) -> str:
    receipt = sent(device, gguf)
    with benchmark(
        "here",
        device,
        what="a test",
        runtime=requests.runtime(runtime),
        workloads=workloads,
        measured_by=f"llmpi.device.measure.{'over_http' if endpoint else 'process'}",
        provisioned=provision("here", device, Parts(lock=Path(), engines=Path())),
        receipt=receipt,
        gguf=gguf,
        kept=gguf.with_suffix(".meter"),
        endpoint=endpoint,
        samples={"real": ASKED, "refused": REFUSED} if "real" in workloads else None,
        draft=Sent(draft, sent(device, draft)) if draft else None,
    ) as record:
        return json.dumps(record)


def sent(device: LocalDevice, gguf: Path) -> Receipt:
    with connected("here", device) as reached:
        receipt = put_model(reached, gguf, f"tiny/{gguf.name}", sha256_of(gguf), None)
    assert receipt["status"] == "ok"
    return receipt


def test_real_sessions_are_what_their_type_says(sessions: list[str]) -> None:
    several, survived, served, died, drafted, undrafted = (
        check(text, SessionRecord, "a session") for text in sessions
    )
    assert several["status"] == survived["status"] == served["status"] == "ok"
    chat = served["workloads"]["chat"]
    assert chat["status"] == "ok" and chat["apart"]
    assert chat["apart"].get("endpoint") == served.get("endpoint") is not None
    assert served["workloads"]["long"]["status"] == "failed"
    assert died["status"] == undrafted["status"] == "failed"
    assert drafted["status"] == "ok" and drafted["draft_sha256"] == drafted["gguf_sha256"]
    assert undrafted.get("draft_sha256") not in (None, undrafted.get("gguf_sha256"))
    kinds = {name: cell["status"] for name, cell in several["workloads"].items()}
    assert kinds.pop("crowd") == kinds.pop("refused") == "failed"
    assert kinds == dict.fromkeys(("chat", "slow", "users", "talk", "real"), "ok")
    assert {name: cell["status"] for name, cell in survived["workloads"].items()} == {
        "chat": "ok",
        "short": "failed",
    }
    seen = [found(json.loads(text), SessionRecord) for text in sessions]
    # To lose a prefix takes a storage that is none, or fails (`test_conversation.py`).
    lost = {("LostPrefix", name) for name in get_type_hints(LostPrefix)}
    assert declared(SessionRecord) - set().union(*seen) in (lost, set())


Field = tuple[str, str]
"""A type and what it declares."""


def declared(kind: Any) -> set[Field]:
    """All that a record may hold."""
    if not is_typeddict(kind):
        return {field for part in get_args(kind) for field in declared(part)}
    return {
        field
        for name, part in get_type_hints(kind).items()
        for field in {(kind.__name__, name), *declared(part)}
    }


def found(value: Any, kind: Any) -> set[Field]:
    """All that this one holds."""
    parts, origin = get_args(kind), get_origin(kind)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        own = {(kind.__name__, name) for name in value}
        return own.union(*(found(one, hints[name]) for name, one in value.items()))
    if origin is dict:
        return set().union(*(found(one, parts[1]) for one in value.values()))
    if origin is list:
        return set().union(*(found(one, parts[0]) for one in value))
    if origin in (Union, UnionType):
        return found(value, next(part for part in parts if fits(value, part)))
    return set()


def fits(value: Any, kind: Any) -> bool:
    try:
        TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError:
        return False
    return True
