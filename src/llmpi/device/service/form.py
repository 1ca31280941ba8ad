"""OpenAI's form of an answer."""

import json
import time
import uuid
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from llmpi.device.service.requests import Asked
from llmpi.device.service.tool_calls import Call

Json = Any  # as OpenAI's interface has it


class Form:
    """Of one answer: a whole, or the pieces of a stream."""

    def __init__(self, asked: Asked, model: str) -> None:
        self._asked = asked
        kind = "chat.completion" if asked.chat else "text_completion"
        stream = ".chunk" if asked.chat and asked.stream else ""
        name = f"{'chatcmpl' if asked.chat else 'cmpl'}-{uuid.uuid4().hex}"
        self._frame = {"id": name, "object": kind + stream, "created": int(time.time())}
        self._frame["model"] = model
        self._begins = f'{json.dumps(self._frame)[:-1]}, "choices": [{{"index": 0, '
        opens, closes = ('"delta": {"content": ', "}") if asked.chat else ('"text": ', "")
        self._before = self._begins + opens
        self._after = closes + ', "logprobs": null, "finish_reason": null}]}'
        self._role: Json = {"role": "assistant"}

    def part(self, text: str, thought: str, calls: Sequence[Call]) -> str:
        """Of a stream; the first of a chat says whose turn it is.

        Most hold a token's text and nothing else. The engine waits for what one costs here, and so
        such a part is written as `json.dumps` would have written it, without asking it.
        """
        if not (self._role or thought or calls):
            return self._before + quoted(text) + self._after
        made = [call.record(index, streamed=True) for index, call in enumerate(calls)]
        said = {"reasoning_content": thought, "content": text, "tool_calls": made}
        delta = {**self._role, **{key: part for key, part in said.items() if part}}
        self._role = {}
        return self._chunk({"delta": delta} if self._asked.chat else {"text": text})

    def last(self, ended: str, tokens: int) -> list[str]:
        """What ends a stream."""
        found = [self._chunk({"delta": self._role} if self._asked.chat else {"text": ""}, ended)]
        if self._asked.tells_usage:
            usage = {"choices": [], "usage": self._usage(tokens)}
            found.append(json.dumps({**self._frame, **usage}))
        return found

    def whole(self, text: str, calls: Sequence[Call], ended: str, tokens: int) -> Json:
        message: Json = {"role": "assistant", "content": text}
        if calls:
            made = [call.record(index, streamed=False) for index, call in enumerate(calls)]
            message = {**message, "content": text or None, "tool_calls": made}
        choice: Json = {"message": message} if self._asked.chat else {"text": text}
        choices = [{"index": 0, **choice, "logprobs": None, "finish_reason": ended}]
        return {**self._frame, "choices": choices, "usage": self._usage(tokens)}

    def _chunk(self, said: Json, ended: str | None = None) -> str:
        choice = json.dumps({**said, "logprobs": None, "finish_reason": ended})
        return f"{self._begins}{choice[1:]}]}}"

    def _usage(self, tokens: int) -> Json:
        prompt = self._asked.prompt_tokens
        counts = {"prompt_tokens": prompt, "completion_tokens": tokens}
        return {**counts, "total_tokens": prompt + tokens}
