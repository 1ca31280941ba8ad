"""What an endpoint answered to a task, of whichever kind."""

from collections.abc import Sequence

from llmpi.device.records import Asked, EndpointRequest, Said
from llmpi.engine.records import AskedEndpoint
from llmpi.quality.records import Answer


def answers_of(asked: Sequence[Asked]) -> list[Answer]:
    """In the order of what was asked, from its parts."""
    return [_answer(said) for part in asked for said in part["answers"]]


def endpoint_of(endpoint: EndpointRequest, asked: Sequence[Asked]) -> AskedEndpoint:
    """Who answered.

    Args:
        asked: at least one part.
    """
    return {
        "url": endpoint["url"],
        "api": endpoint["api"],
        "on_device": asked[0]["on_device"],
        "model": endpoint["model"],
        "claimed": endpoint["claimed"],
        "server": asked[0]["server"],
        "thinking_told": asked[0]["thinking_told"],
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
