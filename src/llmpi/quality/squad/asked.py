"""Score what an endpoint answered to a SQuAD v2 task."""

from collections.abc import Sequence

from llmpi.device.records import Asked, EndpointRequest
from llmpi.engine.records import Message
from llmpi.quality.asked import answers_of, endpoint_of
from llmpi.quality.squad.items import score_items, summarize
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.records import AskingSettings, Questions, SquadAsked


def conversations(questions: Questions, settings: AskingSettings) -> list[list[Message]]:
    """What is asked, in the order in which it is drawn: the same words as in process."""
    return [
        messages(paragraph.context, question.question, settings["examples"], settings["prompt"])
        for paragraph in parse(questions["squad"], "questions")
        for question in paragraph.questions
    ]


def score_asked(
    questions: Questions,
    settings: AskingSettings,
    endpoint: EndpointRequest,
    asked: Sequence[Asked],
) -> SquadAsked:
    """The record.

    Args:
        asked: the answers to `conversations`, in parts, at least one.
    """
    paragraphs = parse(questions["squad"], "questions")
    items = score_items(paragraphs, range(len(paragraphs)), answers_of(asked), settings["language"])
    return {
        "status": "ok",
        "summary": {**summarize(items), "thought_tokens_mean": None},
        "settings": settings,
        "questions_sha256": questions["sha256"],
        "endpoint": endpoint_of(endpoint, asked),
        "items": items,
    }
