"""What a client may ask for, and what of it reaches the engine: nothing but what is named here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmpi.device.service.chat import Chat, Parting
from llmpi.device.service.refusals import RefusedError, must_be, printable, wrong
from llmpi.device.service.schemas import schema_of
from llmpi.device.service.tool_calls import Calls, offered
from llmpi.engine.llama import Model

COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"
NUMBERS = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "top_k": (-1, 1_000_000),
    "seed": (-(2**63), 2**63),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repeat_penalty": (0.1, 10),
    "max_tokens": (0, 2**31),
    "max_completion_tokens": (0, 2**31),
    "n": (1, 1),
    "best_of": (1, 1),
}
"""From, to."""
WHOLE = {"top_k", "seed", "max_tokens", "max_completion_tokens", "n", "best_of"}
SAMPLING = [*NUMBERS][:8]
"""Those that the engine knows by the same name."""
UNHEEDED = {"model", "user", "stream", "stream_options", "stop", "logit_bias"}
SERVED = {
    COMPLETION: {*NUMBERS, *UNHEEDED, "prompt"},
    CHAT: {*NUMBERS, *UNHEEDED, "messages", "tools", "tool_choice", "response_format"},
}
DEFAULT_TOKENS = 16
"""Of a completion, as OpenAI's."""
CALLS = "messages[].tool_calls"
OF_A_TURN = ("name", "tool_calls", "tool_call_id", "reasoning_content")
MOST_STOPS, LONGEST_STOP, MOST_BIASES = 16, 256, 1024

Json = Any  # what a client sent


class Asked(NamedTuple):
    """A request that can be served."""

    engine: Mapping[str, Json]
    """For the engine's `/completion`."""
    prompt_tokens: int
    chat: bool
    parting: Parting | None
    stream: bool
    tells_usage: bool
    """Behind the stream."""
    calls: Calls | None = None
    """Where tools are offered."""


class Reader:
    """
    Args:
        model: the one that is served; its vocabulary is enough, and used from any thread.
        context_tokens: prompt and answer have room for so many, but no more than the model was
            trained on: the engine takes no more either.
    """

    def __init__(self, model: Model, chat: Chat, context_tokens: int) -> None:
        self._model, self._chat = model, chat
        self._context_tokens = min(context_tokens, model.trained_tokens() or context_tokens)

    def __call__(self, path: str, body: bytes) -> Asked:
        """
        Raises:
            RefusedError: it is malformed, asks for what is not served, or is too long.
        """
        given = _object(body)
        for name, value in given.items():
            if name not in SERVED[path] and value:
                raise wrong(f"{printable(name)} is not served")
        numbers = {name: _number(name, given[name]) for name in NUMBERS if _has(given, name)}
        schema, tools = schema_of(given.get("response_format")), offered(given)
        if tools.schema is not None:
            if schema is not None:
                raise wrong("response_format: none beside a tool_choice that forces a tool")
            schema = tools.schema
        thinking = path == CHAT and self._chat.thinking_tokens is not None and schema is None
        text, parting = (
            self._chatted(given, tools.tools, thinking) if path == CHAT else (_prompt(given), None)
        )
        tokens = self._model.tokenize(text)
        room = self._context_tokens - len(tokens)
        if room <= 0:
            raise RefusedError(
                400,
                "context_length_exceeded",
                f"the prompt has {len(tokens)} tokens; prompt and answer have room for "
                f"{self._context_tokens} together",
            )
        limit = numbers.get("max_completion_tokens", numbers.get("max_tokens"))
        if limit is None:
            limit = room if path == CHAT else DEFAULT_TOKENS
        elif thinking and limit:
            limit += self._chat.thinking_tokens or 0
        engine = {name: numbers[name] for name in SAMPLING if name in numbers}
        if "seed" in engine:
            engine["seed"] &= 0xFFFFFFFF
        if stops := _stops(given.get("stop")):
            engine["stop"] = stops
        if biases := _biases(given.get("logit_bias")):
            engine["logit_bias"] = biases
        if schema is not None:
            engine["json_schema"] = schema
        marks = self._chat.shown if parting else []
        if tools.names:
            marks = [*marks, *self._chat.of_calls]
        if parting or marks:
            engine["preserved_tokens"] = marks
        engine |= {"prompt": tokens, "n_predict": min(limit, room)}
        usage = given.get("stream_options") or {}
        return Asked(
            engine,
            len(tokens),
            path == CHAT,
            parting,
            must_be(bool, "stream", given.get("stream") or False),
            bool(must_be(dict, "stream_options", usage).get("include_usage")),
            Calls(tools.names) if tools.names else None,
        )

    def _chatted(self, given: Json, tools: Json, thinking: bool) -> tuple[str, Parting | None]:
        if not self._chat.has_template:
            raise wrong("this model has no chat template: send the whole prompt to /v1/completions")
        turns = [_turn(turn) for turn in must_be(list, "messages", given.get("messages") or None)]
        try:
            prompt = self._chat.prompt(turns, tools or None, thinking=thinking)
            prompt.text.encode()
        except Exception:  # whatever a model's own template raises
            raise wrong("the messages do not fit the model's chat template") from None
        return prompt.text, self._chat.parting(prompt)


def _object(body: bytes) -> dict[str, Json]:
    return must_be(dict, "the body", _json(body, "the body"))


def _json(text: bytes | str, what: str) -> Json:
    try:
        given = json.loads(text)
        # Half a character, a number that is none: what the engine could not read.
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise wrong(f"{what} is no JSON, or holds half a character, NaN or infinity") from None
    return given


def _has(given: Mapping[str, Json], name: str) -> bool:
    return given.get(name) is not None


def _number(name: str, value: Json) -> Json:
    low, high = NUMBERS[name]
    kinds = int if name in WHOLE else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        whole = "a whole number" if name in WHOLE else "a number"
        raise wrong(f"{name}: must be {whole} from {low:g} to {high:g}")
    return value


def _prompt(given: Mapping[str, Json]) -> str:
    prompt = given.get("prompt", "")
    if isinstance(prompt, list) and len(prompt) != 1:
        raise wrong("prompt: one at a time")
    return str(must_be(str, "prompt", prompt[0] if isinstance(prompt, list) else prompt))


def _turn(turn: Json) -> Json:
    role, content = (must_be(dict, "messages[]", turn).get(key) for key in ("role", "content"))
    if isinstance(content, list):
        parts = [must_be(dict, "messages[].content[]", part) for part in content]
        if any(part.get("type") != "text" for part in parts):
            raise wrong("messages[].content[]: nothing but text is served")
        content = "\n".join(must_be(str, "messages[].content[].text", p.get("text")) for p in parts)
    elif content is not None:
        must_be(str, "messages[].content", content)
    kept = {key: turn[key] for key in OF_A_TURN if _has(turn, key)}
    if "tool_calls" in kept:
        kept["tool_calls"] = [_call(one) for one in must_be(list, CALLS, kept["tool_calls"])]
    return {"role": must_be(str, "messages[].role", role), "content": content, **kept}


def _call(given: Json) -> Json:
    """A call that the model made before: its arguments as templates want them, an object."""
    call = dict(must_be(dict, f"{CALLS}[]", given))
    function = dict(must_be(dict, f"{CALLS}[].function", call.get("function")))
    where, arguments = f"{CALLS}[].function.arguments", function.get("arguments")
    if isinstance(arguments, str):
        arguments = _json(arguments, where)
    return {**call, "function": {**function, "arguments": must_be(dict, where, arguments)}}


def _stops(given: Json) -> Sequence[str]:
    stops = [given] if isinstance(given, str) else must_be(list, "stop", given or [])
    if len(stops) > MOST_STOPS or any(len(must_be(str, "stop", s)) > LONGEST_STOP for s in stops):
        raise wrong(f"stop: at most {MOST_STOPS} texts of at most {LONGEST_STOP} letters")
    return [stop for stop in stops if stop]


def _biases(given: Json) -> Json:
    biases = must_be(dict, "logit_bias", given or {})
    sound = all(
        token.isdecimal() and isinstance(value, int | float) and -100 <= value <= 100
        for token, value in biases.items()
    )
    if not sound or len(biases) > MOST_BIASES:
        raise wrong(f"logit_bias: at most {MOST_BIASES} ids of tokens, each from -100 to 100")
    return biases
