"""Measure the workloads of one conversation of an endpoint, in a process of its own.

Its two arguments are JSON files: the job, and where the measurement goes. The times are this
process's; what the endpoint says of itself stands beside them.
"""

import json
import sys
import time
from itertools import count, pairwise
from pathlib import Path

from llmpi.device.machine import environment
from llmpi.device.measure.context import LONGER
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Answer, Client, UnreachableError
from llmpi.device.measure.memory import UNKNOWN
from llmpi.device.measure.patience import patient
from llmpi.device.measure.repeated import Repeated
from llmpi.device.measure.rest import rested
from llmpi.device.measure.rounds import measured
from llmpi.device.records import SessionJob
from llmpi.engine import info as engine_info
from llmpi.engine.fixed_text import TEXT
from llmpi.engine.llama import EngineError, Model, Settings
from llmpi.engine.progress import say
from llmpi.engine.records import (
    FailedSession,
    LoadedSession,
    Repetition,
    SingleCell,
    SingleWorkload,
)

SLACK_TOKENS = 2
"""So many more or fewer in a prompt are those that say where it begins."""
SHORT_TOKENS = 32
LEAST_TOKENS = 4
"""Behind the first, without which an answer has no speed; fewer where fewer are asked for."""
CACHED_PCT = 5.0
MOST_TOGETHER = 8
"""Tokens that arrive at once on average, with which each is not seen to come any more: a draft that
was right is shorter, what a proxy holds back is longer."""


def measure(job: SessionJob) -> LoadedSession:
    """A session: rest, warm-up, then every repetition of every workload in a random order.

    Raises:
        UnreachableError, EndpointError: the endpoint is not there, or its answers are of no use.
        EngineError: the file whose vocabulary counts tokens cannot be read.
    """
    asked = job["endpoint"]
    timeout_s = sum(one["timeout_s"] for one in job["workloads"].values())
    end = time.monotonic() + timeout_s
    client = Client(asked)
    _greet(client, asked["url"], timeout_s)
    cooled, idle, before = rested(job["rest"])
    with Model(Path(job["gguf"]), Settings(threads=1), vocabulary_alone=True) as vocabulary:
        texts = Texts(vocabulary)
        workloads = {
            name: OverHttp(client, texts, name, one, end)
            for name, one in job["workloads"].items()
            if one["kind"] == "single"
        }
        order = measured(job, workloads, end)
    return {
        "status": "ok",
        "endpoint": {
            "url": asked["url"],
            "api": asked["api"],
            "on_device": client.on_device,
            "model": asked["model"],
            "claimed": asked["claimed"],
            "server": next((workload.server for workload in workloads.values()), None),
        },
        "settings": None,
        "load": None,
        "order": order,
        "workloads": {name: workload.record() for name, workload in workloads.items()},
        "idle": idle,
        "cooled": cooled,
        "environment": {
            "machine": environment.machine(),
            "engine": None,
            "before": before,
            "after": environment.conditions(),
        },
    }


def _greet(client: Client, url: str, timeout_s: float) -> None:
    """Whether it is there at all, its model loaded, and answers as its API has it, and whether it
    takes more than that.

    Raises:
        UnreachableError: no, and nothing is said about the model by that.
    """
    try:
        client.try_out(
            lambda: patient(
                lambda: client.complete(TEXT[:20], 1 + LEAST_TOKENS, timeout_s), timeout_s
            )
        )
    except UnreachableError:
        raise
    except EndpointError as error:
        raise UnreachableError(f"{url}: {error}") from None


class Texts:
    """Prompts of a stated length, no two of which begin alike: an endpoint may keep a prompt that
    it has computed, and takes what a new one has in common with it from there.

    Args:
        vocabulary: counts the tokens.
    """

    def __init__(self, vocabulary: Model) -> None:
        self._vocabulary, self._number = vocabulary, count(time.time_ns() // 1000)
        self._words = TEXT.split(" ")

    def of(self, tokens: int) -> str:
        """A text of so many tokens, one that says where it begins among them."""
        number = next(self._number)
        at = number % len(self._words)
        turned = " ".join([*self._words[at:], *self._words[:at]])
        text = f"{_mirrored(number)} {turned}\n"
        every = self._vocabulary.tokenize(text)
        while len(every) < tokens + len(self._words):
            text += turned + "\n"
            every = self._vocabulary.tokenize(text)
        cut = (self._vocabulary.text(every[: tokens + more]) for more in (0, 1, -1, 2, -2, 3, -3))
        found = min(cut, key=lambda one: abs(self.count(one) - tokens))
        return found or text[:1]

    def number(self) -> str:
        """One that no other text begins with."""
        return _mirrored(next(self._number))

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._vocabulary.tokenize(text))

    def count_behind(self, text: str) -> int:
        """Tokens of a text that goes on: without one that begins a prompt."""
        return self.count(text) - self.count("")


def _mirrored(number: int) -> str:
    """Its digits: those that change fastest come first."""
    return str(number)[::-1]


class OverHttp(Repeated):
    """A workload of one conversation with an endpoint.

    Args:
        end: on the monotonic clock; no request goes on behind it.
    """

    def __init__(
        self, client: Client, texts: Texts, name: str, asked: SingleWorkload, end: float
    ) -> None:
        super().__init__(name, asked, UNKNOWN)
        self._client, self._texts, self._end = client, texts, end
        self._added = 0
        self.server: str | None = None

    def record(self) -> SingleCell:
        return {**super().record(), "marks": ["over HTTP"]}

    def _first(self) -> Repetition:
        """Finds out what the endpoint adds to a prompt, by one that fits every context."""
        text = self._texts.of(min(SHORT_TOKENS, self._asked["prompt_tokens"]))
        got = self._complete(text, 1 + LEAST_TOKENS).served["prompt_tokens"]
        self._added = 0 if got is None else max(-SLACK_TOKENS, got - self._texts.count(text))
        return self._once(None, min(LEAST_TOKENS, self._effort.output_tokens))

    def _once(self, depth: int | None, tokens: int | None = None) -> Repetition:
        """One answer; its prompt is taken to be computed when its first token is there."""
        prompt_tokens = depth or self._asked["prompt_tokens"]
        wanted = tokens or self._effort.output_tokens
        text = self._texts.of(max(1, prompt_tokens - self._added))
        answer = self._complete(text, 1 + wanted)
        self.server = answer.server
        _check(self.name, answer, prompt_tokens)
        ttft_s = (answer.pieces[0][0] - answer.start_ns) / 1e9
        return {
            "start_s": answer.start_ns / 1e9,
            "pp_s": ttft_s,
            "ttft_s": ttft_s,
            "itl_s": self._itl_s(answer, 1 + wanted),
            "served": answer.served,
        }

    def _itl_s(self, answer: Answer, asked: int) -> list[float]:
        first_ns, _ = answer.pieces[0]
        texts = (
            "".join(text for at, text in answer.pieces if at > behind_ns)
            for behind_ns in (0, first_ns)
        )
        every, later = map(self._texts.count_behind, texts)
        counted = _counted(self.name, answer, asked, every)
        return _itl_s(self.name, answer, counted, every - later, min(asked - 1, LEAST_TOKENS))

    def _complete(self, text: str, tokens: int) -> Answer:
        return self._client.complete(text, tokens, max(1.0, self._end - time.monotonic()))


def _check(name: str, answer: Answer, prompt_tokens: int) -> None:
    """
    Raises:
        EndpointError: another prompt was computed than the one that was asked for.
    """
    got, cached = answer.served["prompt_tokens"], answer.served["cached_tokens"] or 0
    if got is not None and abs(got - prompt_tokens) > SLACK_TOKENS:
        cut = f"does it cut prompts? Then {LONGER}; or " if got < prompt_tokens else ""
        raise EndpointError(
            f"{name}: it counts {got} tokens in a prompt that has {prompt_tokens} by the "
            f"vocabulary of the file that it is said to serve: {cut}is `serves` right?"
        )
    if cached > max(2 * SLACK_TOKENS, CACHED_PCT / 100 * prompt_tokens):
        raise EndpointError(
            f"{name}: it took {cached} of {prompt_tokens} tokens of a prompt out of a cache: "
            "start it without one (llama-server: --no-cache-prompt)"
        )


def _counted(name: str, answer: Answer, asked: int, by_vocabulary: int) -> int:
    """Tokens of an answer: as the endpoint counts them; else its pieces, or the tokens of its text
    where a piece holds several.

    Args:
        asked: at most so many.
        by_vocabulary: of its text, which has fewer where a token has no text of its own.

    Raises:
        EndpointError: neither can be.
    """
    told, pieces = answer.served["output_tokens"], len(answer.pieces)
    several = by_vocabulary > pieces + LEAST_TOKENS  # a vocabulary may begin a text with some more
    counted = told or (min(asked, by_vocabulary) if several else pieces)
    if told and told > asked + SLACK_TOKENS:
        raise EndpointError(f"{name}: it counts {told} tokens where {asked} were asked for")
    least, most = by_vocabulary / 2 - LEAST_TOKENS, by_vocabulary * 2 + LEAST_TOKENS
    if not least <= counted <= most:
        how = f"it counts {told} tokens" if told else f"it counts no tokens, and {pieces} pieces"
        raise EndpointError(
            f"{name}: {how} in an answer that has {by_vocabulary} by the vocabulary of the file "
            "that it is said to serve"
        )
    return counted


def _itl_s(name: str, answer: Answer, tokens: int, first: int, least: int) -> list[float]:
    """Seconds of each token behind those that came first; of several that came in one piece, all
    but one took none.

    Args:
        tokens: of all the answer, and
        first: by the vocabulary, of what was there at once when the first was.

    Raises:
        EndpointError: there are too few that came one by one.
    """
    stamps = [at for at, _ in answer.pieces]
    gaps = [(later - earlier) / 1e9 for earlier, later in pairwise(stamps)]
    apart = sum(gap > 0 for gap in gaps)
    if tokens <= least or apart < max(least, tokens / MOST_TOGETHER - 1):
        raise EndpointError(
            f"{name}: its answer ends after {tokens} tokens that came at {1 + apart} times; "
            f"{1 + least} that come one by one are the least that a speed is made of. Does "
            "something in between hold them back?"
        )
    if tokens < len(stamps):  # a piece is less than a token
        last = len(stamps) - 1
        stamps = [stamps[i * last // (tokens - 1)] for i in range(tokens)]
        return [(later - earlier) / 1e9 for earlier, later in pairwise(stamps)]
    together = stamps.count(stamps[0])  # and maybe some letters of one token, which are no token
    behind = gaps[together - 1 :]
    return behind + [0.0] * (tokens - max(first, together) - len(behind))


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    record: LoadedSession | FailedSession
    try:
        record = measure(json.loads(Path(job).read_text(encoding="utf-8")))
    except UnreachableError as error:
        say(str(error))
        record = {"status": "failed", "stage": "endpoint", "reason": str(error)}
    except (EndpointError, EngineError) as error:
        sys.exit(str(error))
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
