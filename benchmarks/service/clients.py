"""Honest clients: what they ask, how long it took, whether the answer was right."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.service.servers import CONTEXT_TOKENS, KEY
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Client
from llmpi.device.records import EndpointRequest
from llmpi.device.service import load
from llmpi.device.service.bench import KEY_VARIABLE
from llmpi.engine.llama import Engine, Settings

NAMES = (
    *("Ilse", "Bruno", "Chiara", "Dmitri", "Esra", "Farid", "Greta", "Hiro", "Ines", "Jonas"),
    *("Kofi", "Lena", "Mateo", "Noor", "Olga", "Pavel"),
)
THINGS = ("lighthouse", "bicycle", "glacier", "violin", "orchard", "compass", "harbour", "kettle")
TOKENS = 24
PATIENCE_S = 120.0
MOST_PROMPTS = 512
PARTING = 0.1
"""Logits: engines that batch differently may part where two tokens are as near as that."""
TEMPLATE_MARKS = ("<|im_start|>", "<|im_end|>", "[INST]")


def prompts(count: int) -> list[str]:
    """Different ones, of some thirty tokens, each with a name that no other has."""
    return [
        f"{name(i)} found an old {THINGS[i % len(THINGS)]} behind the house and wanted to know "
        "where it came from. The first thing to do was"
        for i in range(count)
    ]


def name(i: int) -> str:
    return f"{NAMES[i % len(NAMES)]}{1000 + 7 * i}"


def client(port: int) -> Client:
    """The one that `llmpi service bench` measures with."""
    os.environ[KEY_VARIABLE] = KEY
    asked: EndpointRequest = {
        "url": f"http://127.0.0.1:{port}/v1",
        "api": "completions",
        "key_variable": KEY_VARIABLE,
        "model": "benchmark",
        "claimed": {"file": None, "type": None, "template": None},
    }
    return Client(asked, plain=True)


class Load(NamedTuple):
    """What so many clients got."""

    tokens_per_s: float
    first_s: list[float]
    whole_s: list[float]
    failed: int


def closed_loop(port: int, clients: int, requests: int, tokens: int) -> Load:
    """Clients that each ask again as soon as they were answered, `requests` of all together."""
    asked, every = client(port), prompts(requests)
    begun = time.perf_counter()
    told = load.closed_loop(
        lambda i: asked.complete(every[i], tokens, PATIENCE_S), clients, requests=requests
    )
    seconds = time.perf_counter() - begun
    good = [one for one in told if one["outcome"] == "answered"]
    return Load(
        sum(one["output_tokens"] or 0 for one in good) / seconds,
        [one["ttft_s"] or 0.0 for one in good],
        [one["whole_s"] for one in good],
        len(told) - len(good),
    )


def p95(values: Sequence[float]) -> float:
    """Seconds, by linear interpolation; without a value infinitely many."""
    return float(np.percentile(values, 95)) if values else float("inf")


class Judge:
    """Tells a wrong answer to one of `prompts`.

    Args:
        strict: whether an answer must be the lone engine's but for near ties (F16); otherwise it
            must only hold nothing of another request or of a template.
        foreign: what only other requests said.
    """

    def __init__(self, gguf: Path, *, strict: bool, foreign: Sequence[str]) -> None:
        self._strict, self._foreign = strict, (*foreign, *TEMPLATE_MARKS)
        self._engine = Engine(gguf, Settings(threads=1), context_tokens=CONTEXT_TOKENS)
        self._texts = [self._engine.text([t]) for t in range(self._engine.vocab_tokens)]
        self._alone: dict[str, list[tuple[int, np.ndarray]]] = {}

    def wrong(self, prompt: str, said: str) -> str | None:
        """Why an answer is; None where it is not."""
        others = [one for i in range(MOST_PROMPTS) if (one := name(i)) not in prompt]
        for text in (*self._foreign, *others):
            if text in said:
                return f"it holds {text!r}"
        return self._parts(prompt, said) if self._strict else None

    def _parts(self, prompt: str, said: str) -> str | None:
        tokens: list[int] = []
        for token, logits in self._steps(prompt):
            so_far = self._engine.text(tokens)
            if self._engine.is_end(token) or said == so_far:
                return None
            if said.startswith(self._engine.text([*tokens, token])):
                tokens.append(token)
                continue
            rest = said[len(so_far) :]
            taken = [t for t, text in enumerate(self._texts) if text and rest.startswith(text)]
            gap = float(logits[token] - max((logits[t] for t in taken), default=-np.inf))
            return None if gap <= PARTING else f"it parts by {gap:.2f} logits at {rest!r}"
        return None

    def _steps(self, prompt: str) -> list[tuple[int, np.ndarray]]:
        """What the engine says alone: token by token, with the logits that it was taken from."""
        if prompt not in self._alone:
            engine, steps = self._engine, []
            engine.keep(0)
            engine.decode(engine.tokenize(prompt))
            for _ in range(TOKENS):
                logits = engine.logits(1)[0].copy()
                token = int(logits.argmax())
                steps.append((token, logits))
                if engine.is_end(token):
                    break
                engine.decode([token])
            self._alone[prompt] = steps
        return self._alone[prompt]


class Honest:
    """Clients that go on asking while something is done to the server.

    Args:
        alarmed: told of a request that nobody answered, before the next is sent.
    """

    def __init__(
        self, port: int, count: int, patience_s: float, alarmed: Callable[[], None]
    ) -> None:
        self._client, self._patience_s, self._alarmed = client(port), patience_s, alarmed
        self._over = threading.Event()
        self._asked = prompts(8 * count)
        self.answers: list[tuple[str, str]] = []
        self.refused = 0
        self.unanswered = 0
        self._threads = [
            threading.Thread(target=self._go_on, args=(self._asked[i::count],), daemon=True)
            for i in range(count)
        ]

    def __enter__(self) -> "Honest":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, asked: Sequence[str]) -> None:
        i = 0
        while not self._over.is_set():
            prompt = asked[i % len(asked)]
            i += 1
            begun = time.monotonic()
            try:
                answer = self._client.complete(prompt, TOKENS, self._patience_s)
            except EndpointError as error:
                if error.status in load.REFUSALS:
                    self.refused += 1
                elif not self._over.is_set():
                    self.unanswered += 1
                    if time.monotonic() - begun >= self._patience_s:
                        self._alarmed()
                self._over.wait(0.5)
            else:
                self.answers.append((prompt, answer.text))
