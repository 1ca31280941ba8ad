"""Honest clients: what they ask, how long it took, whether the answer was right."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.service.servers import CONTEXT_TOKENS, KEY
from llmpi.engine.llama import Engine, Settings

NAMES = (
    *("Ilse", "Bruno", "Chiara", "Dmitri", "Esra", "Farid", "Greta", "Hiro", "Ines", "Jonas"),
    *("Kofi", "Lena", "Mateo", "Noor", "Olga", "Pavel"),
)
THINGS = ("lighthouse", "bicycle", "glacier", "violin", "orchard", "compass", "harbour", "kettle")
TOKENS = 24
MOST_PROMPTS = 512
PARTING = 0.1
"""Logits: engines that batch differently may part where two tokens are as near as that."""
TEMPLATE_MARKS = ("<|im_start|>", "<|im_end|>", "[INST]")


class Told(NamedTuple):
    """What came of a request."""

    status: int
    """0 where no answer came."""
    text: str
    tokens: int
    first_s: float
    whole_s: float


def prompts(count: int) -> list[str]:
    """Different ones, of some thirty tokens, each with a name that no other has."""
    return [
        f"{name(i)} found an old {THINGS[i % len(THINGS)]} behind the house and wanted to know "
        "where it came from. The first thing to do was"
        for i in range(count)
    ]


def name(i: int) -> str:
    return f"{NAMES[i % len(NAMES)]}{1000 + 7 * i}"


def ask(port: int, prompt: str, *, tokens: int = TOKENS, patience_s: float = 120) -> Told:
    """Have a text continued greedily, as a stream."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
    body |= {"repeat_penalty": 1.0, "stream_options": {"include_usage": True}}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    begun, first, text, generated = time.perf_counter(), 0.0, "", 0
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=patience_s)
    try:
        link.request("POST", "/v1/completions", json.dumps(body), headers)
        answer = link.getresponse()
        if answer.status != 200:
            answer.read()
            return Told(answer.status, "", 0, 0.0, time.perf_counter() - begun)
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            first = first or time.perf_counter() - begun
            piece = json.loads(line[6:])
            if "error" in piece:
                return Told(0, text, 0, first, time.perf_counter() - begun)
            text += "".join(choice.get("text") or "" for choice in piece["choices"])
            generated = (piece.get("usage") or {}).get("completion_tokens", generated)
        return Told(200, text, generated, first, time.perf_counter() - begun)
    except (OSError, http.client.HTTPException, ValueError):
        return Told(0, text, 0, first, time.perf_counter() - begun)
    finally:
        link.close()


class Load(NamedTuple):
    """What so many clients got."""

    tokens_per_s: float
    first_s: list[float]
    whole_s: list[float]
    failed: int


def closed_loop(port: int, clients: int, requests: int, tokens: int) -> Load:
    """Clients that each ask again as soon as they were answered, `requests` of all together."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        told = list(pool.map(lambda prompt: ask(port, prompt, tokens=tokens), prompts(requests)))
    seconds = time.perf_counter() - begun
    good = [one for one in told if one.status == 200]
    return Load(
        sum(one.tokens for one in good) / seconds,
        [one.first_s for one in good],
        [one.whole_s for one in good],
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
        self._port, self._patience_s, self._alarmed = port, patience_s, alarmed
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
            told = ask(self._port, prompt, patience_s=self._patience_s)
            if told.status == 200:
                self.answers.append((prompt, told.text))
            elif told.status in (429, 503):
                self.refused += 1
                self._over.wait(0.5)
            elif not self._over.is_set():
                self.unanswered += 1
                if told.whole_s >= self._patience_s:
                    self._alarmed()
                self._over.wait(0.5)
