"""Patterns that the engine can stand: what is let through means the same, all else is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.service.patterns import LONGEST_PATTERN, safe
from llmpi.device.service.refusals import RefusedError

SAFE = {
    r"^[A-Z]{3}-\d{4}$": ["ABC-1234"],
    r"^\d{4}-\d{2}-\d{2}$": ["2026-11-27"],
    "^[a-z]+$": ["abc"],
    r"^v\d+\.\d+$": ["v1.20"],
    r"^#[0-9a-fA-F]{6}$": ["#00ffAA"],
    r"^[\w.-]{1,20}@[a-z]{2,9}$": ["a.b-c@host"],
    r"^light\.[a-z_]+$": ["light.kitchen"],
    r"^a?b*c{2}$": ["cc", "abcc"],
    r"^[+\-]?\d{1,3}$": ["+12", "-1", "7"],
    r"^x{2,}$": ["xx", "xxxx"],
}


@pytest.mark.parametrize("pattern", SAFE)
def test_a_pattern_means_what_it_meant(pattern: str) -> None:
    made = safe(pattern, "here")
    for text in SAFE[pattern]:
        assert re.fullmatch(pattern, text) and re.fullmatch(made, text)


UNSAFE = [
    "^" + "a?" * 60 + "$",
    "^" + "\\w?" * 40 + "$",
    "^a*a*$",
    "^[a-z]*-?[a-m]$",
    "^[a-z]+\\w$",
    "^\\d{1,3}\\d$",
    "",
    "^$",
    "abc",
    "^abc",
    "^(a|b)$",
    "^(a+)+$",
    "^a|b$",
    "^.*$",
    "^[^a]$",
    "^[a-",
    "^[]$",
    "^[z-a]$",
    "^[ -~]$",
    "^[A-z]$",
    '^"$',
    "^\\\\$",
    "^\\s$",
    "^\\b$",
    "^\\1$",
    "^(?=a)a$",
    "^a{2,1}$",
    "^a{0}$",
    "^a{257}$",
    "^a{999999999}$",
    "^a{,3}$",
    "^a**$",
    "^a+?$",
    "^*$",
    "^a{1,200}b{1,200}$",
    "^é$",
    "^\n$",
    "^a$b$",
    "^a^b$",
    "^" + "a" * LONGEST_PATTERN + "$",
    "^(a|a)*$" * 3000,
]


@pytest.mark.parametrize("pattern", UNSAFE)
def test_any_other_is_refused_in_words(pattern: str) -> None:
    with pytest.raises(RefusedError, match="here: a pattern stands between") as error:
        safe(pattern, "here")
    assert error.value.status == 400


@pytest.mark.parametrize("pattern", [None, 7, ["^a$"], {}])
def test_what_is_no_text_is_no_pattern(pattern: object) -> None:
    with pytest.raises(RefusedError):
        safe(pattern, "here")


@given(st.text(alphabet=r"^$ab09[]{}()|\.*+?,-dw ~", max_size=30).map(lambda t: f"^{t}$"))
def test_whatever_is_let_through_is_a_pattern_of_less(pattern: str) -> None:
    """It is classes and numbers; what keeps to it keeps to what was asked."""
    try:
        made = safe(pattern, "here")
    except RefusedError:
        return
    part = r"\[(?:\\x[0-9a-f]{2}|[A-Za-z0-9_-])+\](?:\{\d+,\d+\})?"
    assert re.fullmatch(rf"\^(?:{part})+\$", made)
    shortest = re.sub(r"\{(\d+),\d+\}", r"{\1}", made)
    example = "".join(
        bytes([int(first[2:], 16)]).decode() * int(often or 1)
        if first.startswith("\\x")
        else first * int(often or 1)
        for first, often in re.findall(r"\[(\\x..|.)[^\]]*\](?:\{(\d+)\})?", shortest)
    )
    assert re.fullmatch(made, example)
    assert re.fullmatch(pattern, example)
