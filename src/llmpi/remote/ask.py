"""Have a device ask an endpoint questions, in parts that are kept until all are answered."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Literal, TypeVar

from typing_extensions import TypedDict

from llmpi.device.records import Asked, AskRequest, EndpointRequest
from llmpi.engine.records import Failed, Message
from llmpi.errors import LlmpiError
from llmpi.quality.cut_prompts import not_whole
from llmpi.records import read, sha256_of_json, write_json
from llmpi.remote import requests
from llmpi.remote.connection import connected
from llmpi.remote.machine import Device
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned
from llmpi.script import tell
from llmpi.study.devices import SingleDevice
from llmpi.study.endpoint import Endpoint

PART_BYTES = 50_000
"""Of questions that go at once: a command's argument holds 128 KiB, quoted (Linux,
MAX_ARG_STRLEN)."""
QUESTION_BYTES = 100_000


class Bounds(TypedDict):
    """What of how a task is asked is the endpoint's business."""

    max_new_tokens: int
    thinking_tokens: int | None


How = TypeVar("How", bound=Bounds)


class Asking(TypedDict, Generic[How]):
    """Who is asked, from where, and how."""

    device: SingleDevice
    endpoint: Endpoint
    questions: How


class Scored(TypedDict):
    """The record of answers, of whichever kind of task."""

    status: Literal["ok"]


def ask_task(
    session: tuple[str, str, str, str],
    spec: Asking[How],
    conversations: Sequence[list[Message]],
    score: Callable[[EndpointRequest, Sequence[Asked]], Scored],
    *,
    what: str,
    gguf: Path,
    provisioned: Provisioned,
    asked: Path,
) -> None:
    """Have an endpoint answer a task, and write what becomes of its answers: a score, or that it
    cut what it was asked.

    Args:
        session: device, model, quantization and runtime.
        conversations: what is asked, in order.
        score: makes the record of the answers to them, in parts.
        what: it is for, without the session.
        gguf: the file that is said to be served; its vocabulary counts tokens.
        asked: the record's file.

    Raises:
        LlmpiError: as of `ask_there`.
    """
    device, model, quant, runtime = session
    endpoint = requests.endpoint(spec["endpoint"], model, quant)
    kept = asked.with_suffix(".parts")
    answers = ask_there(
        device,
        spec["device"],
        what=f"{what} to {model} {quant} {runtime}",
        endpoint=endpoint,
        conversations=conversations,
        max_new_tokens=spec["questions"]["max_new_tokens"],
        thinking_tokens=spec["questions"]["thinking_tokens"],
        provisioned=provisioned,
        kept=kept,
    )
    write_json(asked, not_whole(gguf, conversations, answers) or score(endpoint, answers))
    shutil.rmtree(kept, ignore_errors=True)


def ask_there(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    endpoint: EndpointRequest,
    conversations: Sequence[list[Message]],
    max_new_tokens: int,
    thinking_tokens: int | None,
    provisioned: Provisioned,
    kept: Path,
) -> list[Asked]:
    """The answers, in parts.

    Args:
        what: it is for, for whoever waits for the device.
        provisioned: the receipt of the device.
        kept: folder of the parts answered so far.

    Raises:
        LlmpiError: the device, the endpoint or the way to it failed; a question is too long.
    """
    found, parts = [], [*_parts(name, conversations)]
    request: AskRequest = {
        "what": what,
        "endpoint": endpoint,
        "conversations": [],
        "max_new_tokens": max_new_tokens,
        "thinking_tokens": thinking_tokens,
        "thinking_told": None,
    }
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned, "llmpi.device.measure.questions")
        told = _asked(reached, request)["thinking_told"]
        for part in parts:
            of_part: AskRequest = {**request, "conversations": part, "thinking_told": told}
            path = kept / f"{sha256_of_json(of_part)[:16]}.json"
            if not path.is_file():
                write_json(path, _asked(reached, of_part))
            found.append(read(path, Asked))
    return found


def _asked(reached: Device, request: AskRequest) -> Asked:
    answer = reached.ask("ask", request, Asked | Failed, log=tell, timeout_s=None)
    if answer["status"] == "failed":
        raise LlmpiError(f"device {reached.name}: {answer['reason']}")
    if len(answer["answers"]) != len(request["conversations"]):
        raise LlmpiError(f"device {reached.name}: it did not answer what it was asked")
    return answer


def _parts(name: str, conversations: Sequence[list[Message]]) -> Iterator[list[list[Message]]]:
    part: list[list[Message]] = []
    taken = 0
    for one in conversations:
        size = len(json.dumps(one))
        if size > QUESTION_BYTES:
            raise LlmpiError(
                f"device {name}: a question with what stands before it takes {size} bytes, more "
                f"than the {QUESTION_BYTES} that can be asked over HTTP; leave it out, or ask the "
                "default alone (scored_with: default)"
            )
        if part and taken + size > PART_BYTES:
            yield part
            part, taken = [], 0
        part.append(one)
        taken += size
    if part:
        yield part
