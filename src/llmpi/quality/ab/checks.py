"""Hold an answer to one of the user's own prompts against what is expected of it, by rule."""

import json
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from referencing.exceptions import Unresolvable

from llmpi.engine.answers import exact, f1
from llmpi.quality.ab.calls import calls_in
from llmpi.quality.ab.prompts import Call, Prompt, Schema, strict_json, validator
from llmpi.quality.ab.records import JudgedAnswer, MetExpectation
from llmpi.quality.records import Answer

# Far above what an honest check needs; CPU time, so that a busy machine changes no outcome.
CHECK_CPU_S = 2.0


def judge(prompt: Prompt, answer: Answer) -> JudgedAnswer:
    """Check an answer by rule. To be called in the main thread (it sets a timer of the process).

    An answer with an error meets nothing.
    """
    wanted = [(name, value) for name, value in prompt.expect if value is not None]
    text, error = answer["text"], answer["error"]
    checks = [_met(name, value, text, error) for name, value in wanted]
    f1 = None
    if prompt.expect.reference is not None:
        f1 = _f1(prompt.expect.reference, text) if error is None else 0.0
    return {
        "id": prompt.id,
        "passed": all(check["met"] for check in checks) if checks else None,
        "checks": checks,
        "f1": f1,
        "text": text,
        "cut_off": error is None and not answer["stopped"],
        "error": error,
    }


def _met(name: str, wanted: Any, text: str, error: str | None) -> MetExpectation:
    met, reason = (False, f"no answer: {error}") if error else _check(name, wanted, text)
    return {"expectation": name, "met": met, "reason": reason}


Verdict = tuple[bool, str]


def _check(name: str, wanted: Any, text: str) -> Verdict:
    try:
        with _cpu_limit(CHECK_CPU_S):
            return CHECKS[name](wanted, text)
    except _TimeUpError:
        return False, f"stopped after {CHECK_CPU_S} s: a pattern that backtracks without end"
    except (RecursionError, OverflowError, Unresolvable) as error:
        return False, f"cannot be checked: {error}"


def _check_reference(references: list[str], text: str) -> Verdict:
    met = any(exact(reference, text) for reference in references)
    return met, f"F1 {_f1(references, text):.2f} against the nearest of {_quoted(references)}"


def _f1(references: list[str], text: str) -> float:
    return max(f1(reference, text) for reference in references)


def _check_contains(wanted: list[str], text: str) -> Verdict:
    lacking = [part for part in wanted if part.casefold() not in text.casefold()]
    return not lacking, f"lacks {_quoted(lacking)}" if lacking else f"has {_quoted(wanted)}"


def _check_not_contains(unwanted: list[str], text: str) -> Verdict:
    found = [part for part in unwanted if part.casefold() in text.casefold()]
    return not found, f"has {_quoted(found)}" if found else f"lacks {_quoted(unwanted)}"


def _check_regex(pattern: str, text: str) -> Verdict:
    match = re.search(pattern, text)
    return match is not None, f"matches {_clip(repr(match[0]))}" if match else "no match"


def _check_json_schema(schema: Schema, text: str) -> Verdict:
    fenced = re.fullmatch(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", text.strip(), re.DOTALL)
    try:
        content = strict_json(fenced[1] if fenced else text.strip())
    except ValueError as error:
        return False, f"no valid JSON: {error}"
    fault = next(validator(schema).iter_errors(content), None)
    return fault is None, f"at {fault.json_path}: {_clip(fault.message)}" if fault else "valid"


def _check_call(wanted: Call, text: str) -> Verdict:
    calls = calls_in(text)
    if len(calls) != 1:
        return False, f"{len(calls)} calls of a function in it, one is wanted"
    [called] = calls
    if called.name != wanted.name:
        return False, f"calls {_clip(repr(called.name))}"
    met = validator({"const": wanted.arguments}).is_valid(called.arguments)  # true is not 1
    return met, f"calls it with {_clip(json.dumps(called.arguments, ensure_ascii=False))}"


def _check_max_words(limit: int, text: str) -> Verdict:
    words = len(text.split())
    return words <= limit, f"{words} of at most {limit} words"


CHECKS: dict[str, Callable[[Any, str], Verdict]] = {
    "reference": _check_reference,
    "contains": _check_contains,
    "not_contains": _check_not_contains,
    "regex": _check_regex,
    "json_schema": _check_json_schema,
    "call": _check_call,
    "max_words": _check_max_words,
}


def _clip(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in texts)


class _TimeUpError(Exception):
    """The check took too long."""


@contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Raise _TimeUpError in the block after so many seconds of this process' user CPU time.

    Python's matcher looks for signals while it backtracks, so that this needs no second process.
    """

    def expire(*_: object) -> None:
        raise _TimeUpError

    before = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
