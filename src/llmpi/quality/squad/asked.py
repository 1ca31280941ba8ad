"""Score what an endpoint answered to a SQuAD v2 task."""

from collections.abc import Sequence

from llmpi.device.records import Asked, EndpointRequest, Said
from llmpi.engine.records import Message
from llmpi.quality.records import Answer
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
    answers = [_answer(said) for part in asked for said in part["answers"]]
    items = score_items(paragraphs, range(len(paragraphs)), answers, settings["language"])
    return {
        "status": "ok",
        "summary": {**summarize(items), "thought_tokens_mean": None},
        "settings": settings,
        "questions_sha256": questions["sha256"],
        "endpoint": {
            "url": endpoint["url"],
            "api": endpoint["api"],
            "on_device": asked[0]["on_device"],
            "model": endpoint["model"],
            "claimed": endpoint["claimed"],
            "server": asked[0]["server"],
        },
        "items": items,
    }


def _answer(said: Said) -> Answer:
    """Of the likelihood of abstaining an endpoint tells nothing, nor what a thought took."""
    return {
        "text": said["text"],
        "thought": said["thought"],
        "prompt_tokens": said["prompt_tokens"],
        "new_tokens": said["new_tokens"],
        "thought_tokens": 0,
        "stopped": said["stopped"],
        "error": said["error"],
        "log_likelihood": None,
    }
