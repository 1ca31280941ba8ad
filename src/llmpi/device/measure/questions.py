"""Ask an endpoint questions, in a process of its own, whose two arguments are JSON files."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from llmpi.device.machine.alone import machine_alone, waiting
from llmpi.device.measure.context import LONGER
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Answer, Client, UnreachableError
from llmpi.device.measure.patience import patient
from llmpi.device.records import Asked, AskRequest, Said
from llmpi.engine.progress import Progress
from llmpi.engine.records import Failed, Message, Served
from llmpi.engine.supervise import Death, supervise

ANSWER_S = 600.0
"""A question that takes longer has no answer."""
PROBE: list[Message] = [{"role": "user", "content": "Say yes."}]
PROBE_TOKENS = 16
TEMPLATE_TOKENS = 10_000
"""A chat template adds fewer; and no token is less than a byte."""
LEAST_SHARE = 0.9
"""Of the tokens that an answer may have, which one that was cut there has by the endpoint's own
count; some count no thoughts."""
THOUGHT, THOUGHT_ENDS = "<think>", "</think>"
"""Around a thought that an endpoint leaves in the text; most templates spell it so."""


def run(
    request: AskRequest, *, log: Callable[[str], None], owner: IO[str] | None = None
) -> Asked | Failed:
    """The answers, when the machine is free: what is measured there is not to be disturbed.

    Args:
        log: called with each line of what is said meanwhile.
        owner: a stream whose end means that the work is not wanted any more.

    Returns:
        Failed, where the endpoint is not there or answers nothing: no result, but something to
        mend.

    Raises:
        OwnerGoneError: `owner` ended.
    """
    with machine_alone(request["what"], wait=waiting(log, owner)):
        outcome = supervise(__name__, request, writes=Asked, log=log, owner=owner)
    return outcome.failed("endpoint") if isinstance(outcome, Death) else outcome


def asked(request: AskRequest) -> Asked:
    """One question after the other, each with an answer or why there is none.

    Raises:
        UnreachableError: the endpoint is not there, or there is no answer to any of them.
        EndpointError: nor to the one that finds out whether it can be told to think.
    """
    client = Client(request["endpoint"], plain=request["thinking_told"] is False)
    if request["thinking_told"] is None:
        thinks = request["thinking_tokens"] is not None
        client.try_out(
            lambda: patient(
                lambda: client.chat(PROBE, PROBE_TOKENS, ANSWER_S, thinks=thinks), ANSWER_S
            )
        )
    answers = list[Said]()
    server, progress = None, Progress(len(request["conversations"]))
    for messages in request["conversations"]:
        said, name = _said(client, messages, request)
        answers.append(said)
        server = server or name
        progress.add(1)
    errors = [said["error"] for said in answers if said["error"]]
    if errors and len(errors) == len(answers):
        raise UnreachableError(errors[0])
    return {
        "status": "ok",
        "answers": answers,
        "on_device": client.on_device,
        "server": server,
        "thinking_told": not client.plain,
    }


def _said(client: Client, messages: Sequence[Message], how: AskRequest) -> tuple[Said, str | None]:
    """An answer, and what the server calls itself."""
    thinks = how["thinking_tokens"] is not None
    tokens = how["max_new_tokens"] + (how["thinking_tokens"] or 0)
    try:
        answer = patient(lambda: client.chat(messages, tokens, ANSWER_S, thinks=thinks), ANSWER_S)
    except UnreachableError:
        raise
    except EndpointError as error:
        return {**NOTHING, "error": str(error)}, None
    thought, text = parted(answer.thought, answer.text)
    return {
        "text": text,
        "thought": thought,
        "prompt_tokens": _prompt_tokens(messages, answer.served),
        "new_tokens": min(answer.served["output_tokens"] or len(answer.pieces), tokens),
        "stopped": answer.stopped,
        "error": _without_answer(thought, text, answer, tokens),
    }, answer.server


def _without_answer(thought: str | None, text: str, answer: Answer, tokens: int) -> str | None:
    """Why what was said is none: all of it is a thought, or it was cut before its bound."""
    told = answer.served["output_tokens"]
    if thought is None:
        short = not answer.stopped and told and told < LEAST_SHARE * tokens
        return f"it was cut after {told} of {tokens} tokens: {LONGER}" if short else None
    if text.strip():
        return None
    if not answer.stopped:
        return f"its thought did not end within {tokens} tokens"
    return "it ended in its thought: there is nothing behind it" if answer.thought else None


def _prompt_tokens(messages: Sequence[Message], served: Served) -> int:
    """As the endpoint counts them; 0 where it tells none, or what cannot be."""
    most = TEMPLATE_TOKENS + sum(len(message["content"].encode()) for message in messages)
    told = served["prompt_tokens"] or 0
    return told if told <= most else 0


NOTHING: Said = {
    "text": "",
    "thought": None,
    "prompt_tokens": 0,
    "new_tokens": 0,
    "stopped": False,
    "error": None,
}


def parted(thought: str | None, text: str) -> tuple[str | None, str]:
    """Thought and answer, also where the endpoint does not tell them apart."""
    if thought is None and THOUGHT_ENDS in text:
        thought, _, text = text.rpartition(THOUGHT_ENDS)
    elif thought is None and text.lstrip().startswith(THOUGHT):
        thought, text = text, ""
    return thought, text


def main(job: str, out: str) -> None:
    record: Asked | Failed
    try:
        record = asked(json.loads(Path(job).read_text(encoding="utf-8")))
    except EndpointError as error:
        record = {"status": "failed", "stage": "endpoint", "reason": str(error)}
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
