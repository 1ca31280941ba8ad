"""What a model file answers to the canary's prompts, as a service will be asked them.

One sequence, one request after the other, what it shares with the one before kept: as
llama-cpp-python's server computes. `python -m llmpi.operate.reference JOB OUT` is the process that
loads the engine; its arguments are JSON files.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from llmpi.device.monitor.records import Prefix
from llmpi.engine import info as engine_info
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.template import TemplateError
from llmpi.engine.chat.thoughts import Thoughts
from llmpi.engine.fixed_text import TEXT
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.low_level import llama_cpp
from llmpi.operate.records import ReferenceAnswers, ReferenceJob, SpeedPrompt, SureAnswer
from llmpi.quality.batching.schedule import common_prefix

BATCH_TOKENS = 512
"""As the server has it by default."""
SHORTEST_PREFIX_CHARACTERS = 60
NO_TOKEN = -1


def answer_all(job: ReferenceJob) -> ReferenceAnswers:
    """The most likely answers, and how sure the model is of them.

    Raises:
        EngineError: the file cannot be loaded, or the prompts do not fit its context.
        TemplateError: the model's chat template gives no prompt.
    """
    settings = Settings(threads=job["threads"], batch_tokens=BATCH_TOKENS)
    with Engine(Path(job["gguf"]), settings, context_tokens=BATCH_TOKENS) as engine:
        bos, eos = engine.special_texts()
        chat = ChatFormat(
            engine.chat_template(),
            bos_token=bos,
            eos_token=eos,
            vocabulary=engine.special_tokens,
        )
        thoughts = chat.marks and Thoughts(chat.marks, engine.text_with_special)
        # The server puts the BOS in front by itself where the model wants one.
        own_bos = bos if llama_cpp.llama_vocab_get_add_bos(engine.vocab) else ""
        prompts = [chat.render(turns).text.removeprefix(own_bos) for turns in job["conversations"]]
        asked = [engine.tokenize(own_bos + prompt) for prompt in prompts]
        text_tokens = len(engine.tokenize(TEXT))
        longest = max([text_tokens, *map(len, asked)])
        engine.resize(longest + job["max_new_tokens"])
        reader = _Reader(engine)
        return {
            "answers": [
                _answer(reader, prompt, tokens, job["max_new_tokens"], thoughts)
                for prompt, tokens in zip(prompts, asked, strict=True)
            ],
            "prefixes": list(_prefixes(reader, TEXT)),
            "speed": _speed(engine, job["speed_tokens"]),
            "engine": engine_info.describe(),
        }


class _Reader:
    """A sequence that keeps what the next prompt has in common with it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._tokens: list[int] = []

    def read(self, tokens: Sequence[int]) -> None:
        """Have exactly `tokens` in the sequence, the last of them computed just now."""
        kept = common_prefix([[*self._tokens, NO_TOKEN], tokens])
        self.engine.keep(kept)
        self.engine.decode(tokens[kept:])
        self._tokens = list(tokens)

    def append(self, token: int) -> None:
        self.engine.decode([token])
        self._tokens.append(token)

    def next(self) -> tuple[int, float]:
        """The likeliest token, and by how much in nats."""
        pointer = llama_cpp.llama_get_logits_ith(self.engine.context, -1)
        logits = np.ctypeslib.as_array(pointer, (self.engine.vocab_tokens,))
        second, first = np.sort(np.partition(logits, -2)[-2:])
        return int(logits.argmax()), float(first - second)


def _answer(
    reader: _Reader, prompt: str, asked: Sequence[int], limit: int, thoughts: Thoughts | None
) -> SureAnswer:
    reader.read(asked)
    tokens: list[int] = []
    token, margin = reader.next()
    least = margin
    while not reader.engine.is_end(token):
        tokens.append(token)
        if len(tokens) == limit:
            break
        reader.append(token)
        token, margin = reader.next()
        least = min(least, margin)
    return {
        "prompt": prompt,
        "answer": reader.engine.text(tokens),
        "thinks": thoughts is not None and thoughts.answer_at(tokens, False, True) != 0,
        "margin_nats": least,
    }


def _prefixes(reader: _Reader, text: str) -> Iterator[Prefix]:
    """The text up to the end of each of its words, and what the model finds likeliest behind it."""
    for end, character in enumerate(text):
        if character != " " or end < SHORTEST_PREFIX_CHARACTERS:
            continue
        reader.read(reader.engine.tokenize(text[:end]))
        token, margin = reader.next()
        said = reader.engine.text([token])
        # A piece of a character, white space or an end cannot be compared as text.
        if said.strip() and "\ufffd" not in said:
            yield {"prompt": text[:end], "next": said.strip(), "margin_nats": margin}


def _speed(engine: Engine, prompt_tokens: int) -> SpeedPrompt:
    """A prompt of about so many tokens."""
    one = len(engine.tokenize(TEXT))
    tokens = engine.tokenize(TEXT * (prompt_tokens // one + 1))[:prompt_tokens]
    return {"prompt": engine.text(tokens), "prompt_tokens": len(tokens)}


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    try:
        record = answer_all(json.loads(Path(job).read_text(encoding="utf-8")))
    except (EngineError, TemplateError) as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
