"""What is asked of the server, looked at before it takes the engine. Needs the `serve` extra.

The server itself answers a malformed or an oversized request with status 500, or in the middle of a
stream, and prints what was asked to its log.
"""

import json
import logging
from typing import Any

from llama_cpp import Llama
from llama_cpp.server.errors import RouteErrorHandler
from llama_cpp.server.types import CreateChatCompletionRequest, CreateCompletionRequest
from pydantic import ValidationError

from llmpi.device.service.chat import Chat
from llmpi.device.service.gate import RefusedError

log = logging.getLogger(__name__)

KINDS: dict[str, type[CreateCompletionRequest | CreateChatCompletionRequest]] = {
    "/v1/completions": CreateCompletionRequest,
    "/v1/chat/completions": CreateChatCompletionRequest,
}

SERVED = {
    *("model", "stream", "max_tokens", "min_tokens", "stop", "seed", "n", "user"),
    *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"),
    *("repeat_penalty", "logit_bias", "mirostat_mode", "mirostat_tau", "mirostat_eta"),
}
"""Fields of a request that reach the engine. It dies of some that are not here (SIGSEGV of a
grammar or a schema that it compiles), and does nothing with others."""
SERVED_OF: dict[str, set[str]] = {
    "/v1/completions": {"prompt", "suffix", "echo", "best_of"},
    "/v1/chat/completions": {"messages", "tools", "tool_choice", "response_format"},
}

NEWER_NAMES = {"max_completion_tokens": "max_tokens"}
"""OpenAI's name of today -> the server's."""
UNHEEDED = {"stream_options"}
"""Sent by clients whose users cannot turn it off, and who do without: a stream tells no usage."""


class Checker:
    """Refuses what the model cannot answer.

    Args:
        llama: the model that serves; only its vocabulary is used, from any thread.
        chat: how it is spoken to.
        context_tokens: prompt and answer have room for so many.
    """

    def __init__(self, llama: Llama, chat: Chat, context_tokens: int) -> None:
        self._llama, self._chat, self._context_tokens = llama, chat, context_tokens

    def __call__(self, path: str, body: bytes) -> bytes:
        """The body as the server takes it.

        Raises:
            RefusedError: no such service, malformed, or too long for the context.
        """
        if path not in KINDS:
            raise RefusedError(404, "not_found", f"served are: {', '.join(KINDS)}")
        try:
            given = _as_served(json.loads(body))
            asked = KINDS[path].model_validate(given)
        except ValidationError as error:
            # Without the input, which is what somebody asked.
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RefusedError(400, "invalid_request", f"{where}: {first['msg']}") from None
        except (ValueError, RecursionError):
            raise RefusedError(400, "invalid_request", "the body is no JSON object") from None
        if unserved := _unserved(path, given, asked):
            raise RefusedError(400, "invalid_request", f"{unserved} is not served")
        try:
            prompt = self._text(asked).encode()
        except UnicodeEncodeError:
            raise RefusedError(
                400, "invalid_request", "the prompt holds half of a surrogate pair"
            ) from None
        tokens = len(self._llama.tokenize(prompt, special=True))
        if tokens >= self._context_tokens:
            raise RefusedError(
                400,
                "context_length_exceeded",
                f"the prompt has {tokens} tokens; prompt and answer have room for "
                f"{self._context_tokens} together",
            )
        return json.dumps(given).encode()

    def _text(self, asked: CreateCompletionRequest | CreateChatCompletionRequest) -> str:
        if isinstance(asked, CreateCompletionRequest):
            prompts = asked.prompt if isinstance(asked.prompt, list) else [asked.prompt]
            if len(prompts) > 1:
                raise RefusedError(400, "invalid_request", "one prompt at a time")
            return "".join(prompts)
        if not self._chat.has_template:
            raise RefusedError(
                400,
                "invalid_request",
                "this model has no chat template: send the whole prompt to /v1/completions",
            )
        try:
            return self._chat.prompt(asked.model_dump()).text
        except Exception:  # whatever a model's own template raises
            raise RefusedError(
                400, "invalid_request", "the messages do not fit the model's chat template"
            ) from None


def _as_served(given: object) -> dict[str, object]:
    """
    Raises:
        ValueError: it is no object.
    """
    if not isinstance(given, dict):
        raise ValueError
    named = {NEWER_NAMES.get(str(k), str(k)): value for k, value in given.items()}
    return {name: value for name, value in named.items() if name not in UNHEEDED}


def _unserved(
    path: str,
    given: dict[str, object],  # what a client sent
    asked: CreateCompletionRequest | CreateChatCompletionRequest,
) -> str | None:
    """What of a request this service does not do; None where it does all of it."""
    served = SERVED | SERVED_OF[path]
    for name, value in given.items():
        if name not in served and value not in (None, False):
            return "".join(c if c.isprintable() else "?" for c in name)[:50]
    if isinstance(asked, CreateChatCompletionRequest):
        if asked.response_format and {*asked.response_format} - {"type"}:
            return "response_format with a schema"
        if isinstance(asked.tool_choice, dict):
            return "a tool_choice that forces a tool"
    return None


def keep_prompts_out_of_logs() -> None:
    """The server's handler prints each error, which may hold what was asked: say its kind only."""

    def wrap(self: RouteErrorHandler, error: Exception, body: Any = None) -> tuple[int, Any]:
        for pattern, answer in self.pattern_and_formatters.items():
            if body is not None and (found := pattern.search(str(error))):
                return answer(body, found)
        log.error("a request failed: %s", type(error).__name__)
        what = {"message": f"the server failed: {type(error).__name__}", "param": None}
        return 500, {**what, "type": "internal_server_error", "code": None}

    RouteErrorHandler.error_message_wrapper = wrap
