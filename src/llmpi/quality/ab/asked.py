"""Hold what an endpoint answered to the user's prompts against what is expected."""

from collections.abc import Sequence
from pathlib import Path

from llmpi.device.records import Asked, EndpointRequest
from llmpi.engine.records import Failed
from llmpi.quality.ab.outcomes import outcomes_of, summarize
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.ab.records import AbAsked, AbAskingSettings
from llmpi.quality.asked import answers_of, endpoint_of
from llmpi.quality.records import Answer
from llmpi.records import failed, sha256_of


def not_to_be_asked(prompts: Sequence[Prompt]) -> Failed | None:
    """Why these prompts have no score over HTTP: a share of some of them would stand beside that
    of all."""
    with_tools = [prompt.id for prompt in prompts if prompt.tools]
    if not with_tools:
        return None
    return failed(
        "quality",
        f"prompts with tools are not asked over HTTP, and {len(with_tools)} of {len(prompts)} "
        f"have some, {with_tools[0]!r} the first: put them into a task of their own",
    )


def score_asked(
    path: Path,
    prompts: Sequence[Prompt],
    settings: AbAskingSettings,
    endpoint: EndpointRequest,
    asked: Sequence[Asked],
) -> AbAsked:
    """The record.

    Args:
        path: the file of the prompts.
        asked: the answers to them, in parts, at least one.
    """
    answers = [_with_text(answer) for answer in answers_of(asked)]
    outcomes = outcomes_of(prompts, answers)
    errors = sum(answer["error"] is not None for answer in answers)
    cut = sum(answer["error"] is None and not answer["stopped"] for answer in answers)
    return {
        "status": "ok",
        "summary": {**summarize(len(prompts), outcomes), "errors": errors, "cut": cut},
        "outcomes": outcomes,
        "answers": answers,
        "prompts_sha256": sha256_of(path),
        "settings": settings,
        "endpoint": endpoint_of(endpoint, asked),
    }


def _with_text(answer: Answer) -> Answer:
    """What ends otherwise than by itself and has no text is no answer, such as a call of a tool:
    else it would meet what only says how an answer must not be."""
    if answer["error"] is None and not answer["stopped"] and not answer["text"].strip():
        return {**answer, "error": "it holds no text, and did not end by itself"}
    return answer
