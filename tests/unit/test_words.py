"""Every fact has its sentence in every language, and every code its word."""

from collections.abc import Iterator
from types import UnionType
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from llmpi.decide.candidates import CHECKS
from llmpi.decide.records import (
    AnyCaution,
    CostPart,
    Kill,
    Limit,
    NotCompared,
    OnlyEstimated,
    Unmeasured,
    Verdict,
)
from llmpi.engine.records import Mark, Tier
from llmpi.quality.ab.records import Verdict as PairVerdict
from llmpi.quality.kind import Objection
from llmpi.quality.squad.records import Verdict as DescentVerdict
from llmpi.report.words import english, japanese
from llmpi.report.words.languages import WORDS
from llmpi.summary.records import (
    DifferenceKey,
    Differs,
    ParityMiss,
    PredictedCell,
    PredictionVerdict,
    Status,
    Unlike,
)
from llmpi.tune.records import Refusal, Stopped

LABELS = yaml.safe_load((ROOT / "src/llmpi/report/words/ja.yaml").read_text("utf-8"))["labels"]
JAPANESE = range(0x3000, 0xA000)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=16)
"""Numbers as records have them."""


def alternatives(union: UnionType) -> list[object]:
    return [pytest.param(kind, id=kind.__name__) for kind in get_args(union)]


@pytest.fixture(autouse=True, scope="module")
def plain_numbers() -> Iterator[None]:
    st.register_type_strategy(float, FINITE)
    yield
    st.register_type_strategy(float, st.floats())


def check(said: dict[str, str]) -> None:
    """Whole in each language, and each in its own."""
    assert all(text.strip() for text in said.values())
    assert any(ord(character) in JAPANESE for character in said["ja"]), said["ja"]


@pytest.mark.parametrize("kind", alternatives(Kill))
@given(data=st.data())
def test_what_rules_a_candidate_out(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    check({language: words.kill(found) for language, words in WORDS.items()})


@pytest.mark.parametrize("kind", [Unmeasured, OnlyEstimated])
@pytest.mark.parametrize("constraint", [None, *CHECKS])
def test_energy_that_is_preferred_is_another_matter(kind: type, constraint: Limit | None) -> None:
    found = {"kind": "unmeasured", "constraint": constraint}
    if kind is OnlyEstimated:
        found = {"kind": "estimated", "constraint": constraint, "value": 3.0, "unit": "W"}
    said = english.kill(found)
    assert said.startswith("prefer energy: " if constraint is None else f"{constraint}: ")
    assert (constraint or "エネルギー優先") in japanese.kill(found)


@pytest.mark.parametrize("kind", alternatives(AnyCaution))
@given(data=st.data())
def test_what_to_know_of_a_candidate(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    check({language: words.caution(found) for language, words in WORDS.items()})


@pytest.mark.parametrize("kind", alternatives(NotCompared))
@given(data=st.data())
def test_why_there_is_no_money(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    check({language: words.no_money(found) for language, words in WORDS.items()})


@pytest.mark.parametrize("kind", alternatives(Differs))
@given(data=st.data())
def test_what_differs_in_the_method(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    for part in range(2):
        check({language: words.difference(found)[part] for language, words in WORDS.items()})
    assert all(words.difference(found)[2] is not None for words in WORDS.values())


@pytest.mark.parametrize("kind", alternatives(Refusal))
@given(data=st.data())
def test_why_a_setting_may_not_win(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    said = {language: words.refused(found) for language, words in WORDS.items()}
    if found["kind"] == "died":
        why = found["reason"]
        assert said == {"en": why, "ja": LABELS.get(why, why)}
    else:
        check(said)


@pytest.mark.parametrize("why", get_args(Stopped.__annotations__["kind"]))
def test_why_a_search_ended(why: str) -> None:
    found = {"kind": why, "budget": 5}
    check({language: words.stopped(found) for language, words in WORDS.items()})


@given(objection=st.from_type(Objection))
def test_a_minimum_that_is_not_reached(objection: Objection) -> None:
    name = f"{objection['task']} {objection['metric']}"
    for words in WORDS.values():
        said = words.gate(objection)
        assert said.startswith(name) and said != name


@given(misses=st.lists(st.from_type(ParityMiss), min_size=1))
def test_parity(misses: list[ParityMiss]) -> None:
    check({language: words.parity("", misses) for language, words in WORDS.items()})
    assert {words.parity("other tokens", []) for words in WORDS.values()} == {"other tokens"}


def test_boards_that_should_be_equal() -> None:
    found: Unlike = {"group": "shelf", "key": "cpu", "values": {"a": "Cortex-A76", "b": None}}
    check({language: words.unlike(found) for language, words in WORDS.items()})


def test_what_was_not_predicted() -> None:
    """The device is what is missing, unless a reason is given."""
    said = {language: words.unpredicted(UNKNOWN) for language, words in WORDS.items()}
    check(said)
    assert all("pi" in text for text in said.values())
    assert english.unpredicted({**UNKNOWN, "reason": "no such model"}) == "no such model"


UNKNOWN: PredictedCell = {"device": "pi", "reason": None}
"""As much of one as its reason needs."""


@pytest.mark.parametrize(
    "codes",
    [Status, Tier, Mark, CostPart, Verdict, PairVerdict, PredictionVerdict],
)
def test_every_code_has_its_word(codes: object) -> None:
    assert {*get_args(codes)} <= {*LABELS}


def test_every_verdict_of_a_descent_has_its_word() -> None:
    assert {*get_args(DescentVerdict.__annotations__["decision"])} <= {*LABELS}


def test_tables_of_words_are_whole() -> None:
    assert {*japanese.LIMITS} == {*get_args(Limit)} == {*CHECKS}
    assert {*japanese.METHOD} == {*get_args(DifferenceKey)}
    assert japanese.OBJECTIVES.keys() == japanese.SUPERLATIVES.keys() == english.SUPERLATIVES.keys()
