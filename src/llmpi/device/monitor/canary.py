"""Ask a running service a small fixed question set, and hold it against what is expected.

`llmpi-device canary --url URL --expect FILE` prints one JSON record and exits 0 where everything is
as expected, 1 where not. The file comes from `llmpi.operate.expectation`; it is data, and what the
service answers is only compared. Stdlib only, but for the types.
"""

import argparse
import http.client
import json
import re
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

from llmpi.device.monitor.records import (
    CanaryResult,
    Expected,
    Figure,
    Figures,
    Limits,
    Prefix,
    Question,
    Rates,
    SpeedRequest,
)
from llmpi.engine import answers
from llmpi.engine.help_text import described
from llmpi.engine.shown import shown

PP = ("llmpi_prompt_tokens_total", "llmpi_prompt_processing_seconds_total")
TG = ("llmpi_generated_tokens_total", "llmpi_token_generation_seconds_total")
"""What the service counts of its engine's work (`llmpi.device.service.metrics`)."""
NO_ANSWER: Figures = {
    "em_pct": None,
    "f1_pct": None,
    "top1_agreement_pct": None,
    "latency_s": None,
    "tg_tps": None,
    "pp_tps": None,
}
LARGEST_ANSWER_BYTES = 1 << 22


class CanaryError(Exception):
    """The service cannot be asked; the message is for a person."""


class ExpectationError(Exception):
    """The file with what is expected is no such file; the message is for a person."""


class Completion(TypedDict):
    """The body of a completion request."""

    prompt: str
    max_tokens: int
    temperature: int
    stream: bool


Ask = Callable[[str, Completion | None], str]
"""Path and body (None: GET) -> what the service answers."""


def check(expected: Expected, ask: Ask) -> CanaryResult:
    """Ask everything once, one request after the other.

    Prefixes come first and the speed last, so that the server has nothing of the speed's prompt in
    its memory: both begin with the same text, and the questions in between with another.
    """
    try:
        # Some tokenizers keep a word's leading space, others drop it.
        said = [(_says(ask, p["prompt"], 1), p["next"]) for p in expected["prefixes"]]
        top1 = [token.strip() == wanted.strip() for token, wanted in said]
        scores, seconds = [], []
        for question in expected["questions"]:
            start = time.monotonic()
            answer = _says(ask, question["prompt"], expected["max_new_tokens"])
            seconds.append(time.monotonic() - start)
            predicted = answers.prediction(answer, expected["language"])
            scores.append(answers.score(question["golds"], predicted, expected["language"]))
        rates = _speed(ask, expected["speed"])
    except CanaryError as error:
        return {"status": "failed", "reasons": [str(error)], **NO_ANSWER}
    measured: Figures = {
        "em_pct": 100 * statistics.fmean(exact for exact, _ in scores),
        "f1_pct": 100 * statistics.fmean(f1 for _, f1 in scores),
        "top1_agreement_pct": 100 * statistics.fmean(top1),
        "latency_s": statistics.median(seconds),
        **rates,
    }
    reasons = objections(measured, expected["limits"])
    return {"status": "failed" if reasons else "passed", "reasons": reasons, **measured}


def objections(measured: Figures, limits: Limits) -> list[str]:
    """What is below its limit. What could not be measured is not taken for good."""
    held: tuple[tuple[Figure, str, float], ...] = (
        ("f1_pct", "F1 {:.1f} % < {:.1f} %", limits["f1_at_least_pct"]),
        ("top1_agreement_pct", "top-1 agreement {:.1f} % < {:.1f} %", limits["top1_at_least_pct"]),
        ("tg_tps", "tg {:.2f} < {:.2f} tokens/s", limits["tg_at_least_tps"]),
    )
    found = []
    for key, words, limit in held:
        value = measured[key]
        if value is None:
            found.append(f"{key} was not measured: the service's /metrics shows no engine counters")
        elif value < limit:
            found.append(words.format(value, limit))
    return found


def _says(ask: Ask, prompt: str, max_tokens: int) -> str:
    """The most likely continuation of a prompt."""
    body: Completion = {
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": False,
    }
    said = ask("/v1/completions", body)
    try:
        text = json.loads(said)["choices"][0]["text"]
    except (ValueError, LookupError, TypeError):
        raise CanaryError(f"/v1/completions answers no completion: {said[:200]!r}") from None
    if not isinstance(text, str):
        raise CanaryError("/v1/completions answers a completion that is no text")
    return text


def _speed(ask: Ask, speed: SpeedRequest) -> Rates:
    """Rates of the engine while it answers one request as long as the study's workload.

    Its own counters, so that HTTP and Python are not in it, as they are not in the study's.
    """
    before = counters(ask("/metrics", None))
    _says(ask, speed["prompt"], speed["output_tokens"])
    after = counters(ask("/metrics", None))

    def rate(tokens: str, seconds: str) -> float | None:
        spent_s = after.get(seconds, 0) - before.get(seconds, 0)
        done = after.get(tokens, 0) - before.get(tokens, 0)
        return done / spent_s if spent_s > 0 else None

    return {"tg_tps": rate(*TG), "pp_tps": rate(*PP)}


def counters(text: str) -> dict[str, float]:
    """Samples of Prometheus's text format by name, summed over their labels."""
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(\w+)(?:\{.*\})? ([-+.\deE]+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def service(url: str, *, key: str | None, timeout_s: float) -> Ask:
    """How a service is asked; no proxy, no redirect.

    Args:
        url: its address, http or https.
        key: its API key.
        timeout_s: of each request.

    Raises:
        CanaryError: (when asked) no answer, or an error, which is named without the key.
    """
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def ask(path: str, body: Completion | None) -> str:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url.rstrip("/") + path, data, headers)  # noqa: S310
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                return answer.read(LARGEST_ANSWER_BYTES).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            raise CanaryError(f"{path}: HTTP status {error.code} {error.reason}") from None
        except TimeoutError:
            raise CanaryError(f"{path}: no answer in {timeout_s:g} s") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise CanaryError(f"{path}: cannot reach the service: {reason}") from None

    return ask


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key goes nowhere but to the service it belongs to."""

    def redirect_request(self, *_: object) -> None:
        return None


def read_expectation(path: Path) -> Expected:
    """What is expected.

    Raises:
        ExpectationError: the file is no expectation.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        sound = (
            given["prefixes"]
            and given["questions"]
            and all(Prefix.__required_keys__ <= item.keys() for item in given["prefixes"])
            and all(Question.__required_keys__ <= item.keys() for item in given["questions"])
            and SpeedRequest.__required_keys__ <= given["speed"].keys()
            and Limits.__required_keys__ == given["limits"].keys()
            and isinstance(given["max_new_tokens"], int)
            and isinstance(given["language"], str)
        )
    except OSError as error:
        raise ExpectationError(f"{path}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ExpectationError(f"{path}: no expectation of a canary: {error!r}") from None
    if not sound:
        raise ExpectationError(
            f"{path}: no expectation of a canary, which has prefixes, questions, their language, "
            "max_new_tokens, speed and limits; `llmpi monitor expect` writes one"
        )
    expected: Expected = given
    return expected


def read_key(path: Path | None) -> str | None:
    """The API key in a file.

    Raises:
        ExpectationError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ExpectationError(f"{path}: {error.strerror}") from None


def http_url(text: str) -> str:
    """An address of a service, for argparse and configs."""
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname:
        raise ValueError(f"{text!r} is no http(s) address")
    return text


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="llmpi-device canary",
        **described(
            "Ask a running service a fixed question set.\n"
            "Prints one JSON record; the status is 0 if all is as expected, 1 if not, 2 if it was\n"
            "asked wrongly.",
            "llmpi-device canary --url http://127.0.0.1:8080 --expect expect.json",
        ),
    )
    parser.add_argument("--url", required=True, type=http_url, help="address of the service")
    parser.add_argument("--key-file", type=Path, help="file with the service's API key")
    parser.add_argument("--expect", required=True, type=Path, help="what is expected (JSON)")
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="S", help="of a request (default: 120 s)"
    )
    args = parser.parse_args(argv)
    try:
        expected, key = read_expectation(args.expect), read_key(args.key_file)
    except ExpectationError as error:
        print(shown(f"llmpi-device canary: {error}"), file=sys.stderr)
        return 2
    record = check(expected, service(args.url, key=key, timeout_s=args.timeout))
    print(json.dumps(record))
    return 0 if record["status"] == "passed" else 1
