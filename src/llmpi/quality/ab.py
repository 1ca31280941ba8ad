"""A/B on the user's own prompts: which of two variants meets more of what is expected?

The file is JSONL, a prompt per line:

    {"id": "torque", "tags": ["units"], "prompt": "...", "expect": {"contains": "35 Nm"}}

`id` is the number of the line ("line-7") by default; `messages` (a conversation that ends with the
user) may stand in place of `prompt`; `system` and `tags` are optional. What `expect` can say:

- `reference`: one of these texts, compared as SQuAD does (exact match after normalising, which
  drops case, punctuation and articles: "-5" equals "5", so write signs as a `regex`). F1 against
  the nearest reference is reported beside it and decides nothing.
- `contains`, `not_contains`: all of these texts, or none of them; case is ignored.
- `regex`: matches somewhere (Python's `re`; begin with `(?i)` to ignore case).
- `json_schema`: the whole answer, or what stands in a ```json fence that is the whole answer, is
  JSON (RFC 8259: no NaN, no name twice) and valid. References must stay within the schema.
- `max_words`: so many words at most, split at white space.

`not_contains` alone is met by silence; put what a good answer says beside it.

File and answers are untrusted: a check that takes longer than `CHECK_CPU_S` (a `regex`, or a
`pattern` in a schema, that backtracks without end) is stopped and counts as not met.
"""

import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from jsonschema import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from llmpi.device.answers import exact, f1, normalize
from llmpi.errors import LlmpiError
from llmpi.quality.statistics import RESAMPLES, clustered_interval, distinguishable, holm, sign_test
from llmpi.records import Record

# Far above what an honest check needs; CPU time, so that a busy machine changes no outcome.
CHECK_CPU_S = 2.0
INDISTINCT = "not distinguishable"
SHOWN_PROBLEMS = 10

# --- what the file says ---------------------------------------------------------------------------


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text


def _words(text: str) -> str:
    if not normalize(text):
        raise ValueError(f"{text!r} has no word left once normalised; write it as a regex")
    return text


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(schema.get("$schema", ""), str):
        raise ValueError("no JSON schema: $schema should be a text")
    check = validator_for(schema, default=Draft202012Validator).check_schema
    try:
        check(schema)
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
        for reference in _references(schema):
            if not reference.startswith("#"):
                raise ValueError(f"{reference!r} leaves the schema; put it under $defs")
            check(_target(resolver, reference))
    except SchemaError as error:
        raise ValueError(f"no JSON schema: at {error.json_path}: {error.message}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return schema


def _target(resolver: Any, reference: str) -> Any:
    try:
        return resolver.lookup(reference).contents
    except (Unresolvable, TypeError, ValueError):
        # The latter two from a path that goes through a number or a text.
        raise ValueError(f"{reference!r} is not in the schema") from None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_text)]
Texts = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Expect(_Part):
    """What an answer must fulfil, see the module; None is not asked for."""

    reference: (
        Annotated[
            list[Annotated[Text, AfterValidator(_words)]],
            BeforeValidator(_listed),
            Field(min_length=1),
        ]
        | None
    ) = None
    contains: Texts | None = None
    not_contains: Texts | None = None
    regex: Annotated[Text, AfterValidator(_pattern)] | None = None
    json_schema: Annotated[dict[str, Any], AfterValidator(_schema)] | None = None
    max_words: PositiveInt | None = None


class Message(_Part):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Prompt(_Part):
    """A line of the file."""

    id: Text
    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    system: Text | None = None
    tags: list[Text] = []
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> "Prompt":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either 'prompt' or 'messages'")
        roles = [message["role"] for message in self.chat()]
        if roles[-1] != "user":
            raise ValueError(f"the last message must be the user's, not the {roles[-1]}'s")
        if "system" in roles[1:]:
            raise ValueError("a system message can only come first, and only once")
        return self

    def chat(self) -> list[dict[str, str]]:
        """What to ask, in the form chat templates take: {role, content} per turn."""
        system = [Message(role="system", content=self.system)] if self.system else []
        turns = self.messages or [Message(role="user", content=self.prompt or "")]
        return [turn.model_dump() for turn in [*system, *turns]]


def load_prompts(path: Path) -> list[Prompt]:
    """Read a file of prompts, see the module; blank lines are skipped.

    Raises:
        LlmpiError: the file cannot be read, holds no prompt, or says what is not possible; names
            each `file:line`.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise LlmpiError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LlmpiError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    prompts: list[Prompt] = []
    problems: list[str] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            prompt = _parse(line, f"line-{number}")
            first = line_of.setdefault(prompt.id, number)
            if first != number:
                raise ValueError(f"id {prompt.id!r} stands in line {first} already")
            prompts.append(prompt)
        except ValidationError as error:
            problems += [f"{path}:{number}: {_complaint(problem)}" for problem in error.errors()]
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if len(problems) > SHOWN_PROBLEMS:
        problems[SHOWN_PROBLEMS:] = [f"... and {len(problems) - SHOWN_PROBLEMS} more"]
    if problems:
        raise LlmpiError("\n".join(problems))
    if not prompts:
        raise LlmpiError(f"{path}: holds no prompt")
    return prompts


def _parse(line: str, default_id: str) -> Prompt:
    try:
        content = _strict_json(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).replace("line 1 ", "")
        raise ValueError(f"no valid JSON: {reason}; each line is one object") from None
    if not isinstance(content, dict):
        raise ValueError('each line is one object, such as {"prompt": "..."}')
    return Prompt.model_validate({"id": default_id, **content})


def _complaint(problem: Mapping[str, Any]) -> str:
    loc = [str(part) for part in problem["loc"]]
    if problem["type"] != "extra_forbidden":
        reason = problem["msg"].removeprefix("Value error, ")
        return f"{'.'.join(loc)}: {reason}" if loc else reason
    owners: dict[str, type[_Part]] = {"expect": Expect, "messages": Message}
    allowed = list((owners[loc[0]] if len(loc) > 1 else Prompt).model_fields)
    close = get_close_matches(loc[-1], allowed, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{'.'.join(loc)}: unknown key; {hint}Allowed: {', '.join(allowed)}"


def _strict_json(text: str) -> Any:
    """JSON as RFC 8259 wants it.

    Raises:
        ValueError: it is something else, or holds NaN, an infinity or a name twice.
        RecursionError: it is nested too deeply.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice!r} stands there twice")
        return content

    def number(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=number)


# --- judging an answer ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """An expectation, by its key in the file: met or not, and why."""

    expectation: str
    met: bool
    reason: str


@dataclass(frozen=True)
class Outcome:
    """An answer and what it meets.

    `passed` if all checks are met, None where nothing is expected; `f1` (0 to 1) against the
    nearest reference, None without one; `cut_off` if it reached the bound on new tokens.
    """

    id: str
    passed: bool | None
    checks: list[Check]
    f1: float | None
    text: str
    cut_off: bool
    error: str | None


def judge(prompt: Prompt, answer: Mapping[str, Any]) -> Outcome:
    """Check an answer by rule. To be called in the main thread (it sets a timer of the process).

    Args:
        answer: `text`, `error` (why there is none, or None) and `stopped` (ended by itself). An
            answer with an error meets nothing.
    """
    wanted = {name: value for name, value in prompt.expect if value is not None}
    text, error = answer["text"], answer["error"]
    if error is not None:
        checks = [Check(name, False, f"no answer: {error}") for name in wanted]
    else:
        checks = [Check(name, *_check(name, value, text)) for name, value in wanted.items()]
    f1 = None
    if prompt.expect.reference is not None:
        f1 = _f1(prompt.expect.reference, text) if error is None else 0.0
    return Outcome(
        id=prompt.id,
        passed=all(check.met for check in checks) if checks else None,
        checks=checks,
        f1=f1,
        text=text,
        cut_off=error is None and not answer["stopped"],
        error=error,
    )


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


def _check_json_schema(schema: dict[str, Any], text: str) -> Verdict:
    fenced = re.fullmatch(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", text.strip(), re.DOTALL)
    try:
        content = _strict_json(fenced[1] if fenced else text.strip())
    except ValueError as error:
        return False, f"no valid JSON: {error}"
    validator = _validator(schema)
    fault = next(validator.iter_errors(content), None)
    return fault is None, f"at {fault.json_path}: {_clip(fault.message)}" if fault else "valid"


def _validator(schema: dict[str, Any]) -> Validator:
    # An empty registry, not jsonschema's own, which fetches references it does not know.
    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _check_max_words(limit: int, text: str) -> Verdict:
    words = len(text.split())
    return words <= limit, f"{words} of at most {limit} words"


CHECKS: dict[str, Callable[[Any, str], Verdict]] = {
    "reference": _check_reference,
    "contains": _check_contains,
    "not_contains": _check_not_contains,
    "regex": _check_regex,
    "json_schema": _check_json_schema,
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


# --- comparing two variants -----------------------------------------------------------------------

Pair = tuple[Prompt, Outcome, Outcome]


def compare(
    prompts: Sequence[Prompt], a_outcomes: Sequence[Outcome], b_outcomes: Sequence[Outcome]
) -> Record:
    """Two variants on the same prompts, paired prompt by prompt; differences are B minus A.

    Intervals: 95 %, percentile bootstrap of the paired differences over prompts. p values: exact
    McNemar test, two-sided (McNemar 1947, doi:10.1007/BF02295996; exact form: the sign test on
    prompts that only one variant passes); those of tags are adjusted together after Holm (1979,
    *A Simple Sequentially Rejective Multiple Test Procedure*).

    Args:
        prompts, a_outcomes, b_outcomes: same length and order.

    Returns:
        JSON-able; `all` (None if nothing is expected of any prompt) and `tags` (tag -> the same;
        only tags with expectations) hold {prompts, a_pct, b_pct, difference_pct, low_pct, high_pct,
        only_a, only_b, p, p_adjusted, verdict, f1}. Rates are per cent, differences percentage
        points; `low_pct` and `high_pct` are None where all prompts differ alike and so show no
        spread. `verdict` is "a better", "b better" or "not distinguishable" (p_adjusted > 0.05).
        `f1` is the same comparison of F1, None without references. `prompts` lists {id, tags, a, b}
        with the outcomes.

    Raises:
        ValueError: the three are not of one length and order.
    """
    pairs = list(zip(prompts, a_outcomes, b_outcomes, strict=True))
    if mixed := [p.id for p, a, b in pairs if not p.id == a.id == b.id]:
        raise ValueError(f"outcomes are out of order at prompt {mixed[0]!r}")
    checked = [pair for pair in pairs if pair[1].passed is not None]
    tags = dict.fromkeys(tag for prompt, *_ in checked for tag in prompt.tags)
    by_tag = {tag: _group([pair for pair in checked if tag in pair[0].tags]) for tag in tags}
    adjusted = holm([group["p"] for group in by_tag.values()])
    return {
        "interval": f"95 %, paired bootstrap over prompts, {RESAMPLES} resamples, seeded",
        "test": "McNemar, exact, two-sided; Holm-adjusted over the tags",
        "all": _with_verdict(everything := _group(checked), everything["p"]) if checked else None,
        "tags": {
            tag: _with_verdict(group, p)
            for (tag, group), p in zip(by_tag.items(), adjusted, strict=True)
        },
        "prompts": [
            {"id": prompt.id, "tags": prompt.tags, "a": asdict(a), "b": asdict(b)}
            for prompt, a, b in pairs
        ],
    }


def _group(pairs: Sequence[Pair]) -> Record:
    only_a = sum(bool(a.passed and not b.passed) for _, a, b in pairs)
    only_b = sum(bool(b.passed and not a.passed) for _, a, b in pairs)
    f1 = [(a.f1, b.f1) for _, a, b in pairs if a.f1 is not None and b.f1 is not None]
    return {
        **_difference([(float(bool(a.passed)), float(bool(b.passed))) for _, a, b in pairs]),
        "only_a": only_a,
        "only_b": only_b,
        "p": sign_test(only_a, only_b),
        "f1": _difference(f1) if f1 else None,
    }


def _difference(scores: Sequence[tuple[float, float]]) -> Record:
    """Means and their paired difference, from (A, B) per prompt, each 0 to 1."""
    differences = [100 * (b - a) for a, b in scores]
    interval = None
    if len(set(differences)) > 1:
        interval = clustered_interval(differences, range(len(scores)))
    low, high = interval or (None, None)
    return {
        "prompts": len(scores),
        "a_pct": 100 * sum(a for a, _ in scores) / len(scores),
        "b_pct": 100 * sum(b for _, b in scores) / len(scores),
        "difference_pct": sum(differences) / len(scores),
        "low_pct": low,
        "high_pct": high,
    }


def _with_verdict(group: Record, p_adjusted: float | None) -> Record:
    verdict = winner(group["only_a"], group["only_b"], p_adjusted)
    return {**group, "p_adjusted": p_adjusted, "verdict": verdict}


def winner(a_better: int, b_better: int, p: float | None) -> str:
    """ "a better" or "b better", or "not distinguishable" where p is above 0.05."""
    if not distinguishable(p):
        return INDISTINCT
    return "a better" if a_better > b_better else "b better"
