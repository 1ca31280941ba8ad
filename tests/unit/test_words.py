"""Every fact has its sentence in every language, and every code its word."""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Literal, get_args

import made_records
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from llmpi.decide.records import (
    AnyCaution,
    Candidate,
    Change,
    Choice,
    CostPart,
    CostUnit,
    Decision,
    Kill,
    Limit,
    MoreItems,
    NotCompared,
    OnlyEstimated,
    ProvisionalBy,
    RequirementVerdict,
    Shown,
    Standing,
    Supply,
    Unmeasured,
    Unstated,
)
from llmpi.decide.values import CHECKS
from llmpi.engine.records import Mark, Tier
from llmpi.quality.ab.records import Verdict as PairVerdict
from llmpi.quality.kind import Objection
from llmpi.quality.records import Obstacle
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.records import Verdict as DescentVerdict
from llmpi.quality.squad.requirements import CALLED
from llmpi.report.words import english, japanese
from llmpi.report.words.emphasis import whose
from llmpi.report.words.english import REASONS
from llmpi.report.words.languages import WORDS
from llmpi.report.words.numbers import number
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


@pytest.mark.parametrize("kind", alternatives(Obstacle))
@given(data=st.data())
def test_why_there_is_no_score(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    check({language: words.unscored([found]) for language, words in WORDS.items()})


@pytest.mark.parametrize("kind", [Unmeasured, OnlyEstimated])
@pytest.mark.parametrize("constraint", [None, *CHECKS])
def test_energy_that_is_preferred_is_another_matter(kind: type, constraint: Limit | None) -> None:
    found = {"kind": "unmeasured", "constraint": constraint}
    if kind is OnlyEstimated:
        found = {"kind": "estimated", "constraint": constraint, "value": 3.0, "unit": "W"}
    said = english.kill(found)
    named = "prefer energy: " if constraint is None else english.QUANTITIES[constraint]
    assert said.startswith(named)
    named = "エネルギー優先" if constraint is None else japanese.LIMITS[constraint]
    assert named in japanese.kill(found)


@pytest.mark.parametrize("kind", alternatives(AnyCaution))
@given(data=st.data())
def test_what_to_know_of_a_candidate(kind: type, data: st.DataObject) -> None:
    found = data.draw(st.from_type(kind))
    check({language: words.caution(found) for language, words in WORDS.items()})


@given(one=st.from_type(RequirementVerdict))
def test_a_requirement_and_what_is_put_up_with(one: RequirementVerdict) -> None:
    for words in WORDS.values():
        name, limit = words.requirement(one)
        assert name.startswith(one["task"]) and limit
    check({language: words.requirement(one)[1] for language, words in WORDS.items()})


ASKED = sorted({CALLED.get(metric, metric) for metric in METRICS})


@pytest.mark.parametrize("metric", [*ASKED, "passed", "passed safety", "perplexity"])
def test_every_metric_of_ours_has_its_name(metric: str) -> None:
    found = {**LOSS, "metric": metric}
    said = {language: words.metric(found) for language, words in WORDS.items()}
    assert "_" not in "".join(said.values())
    if metric != "f1":
        check(said)
    assert english.metric({**LOSS, "metric": "arc_easy/acc,none"}) == "arc_easy/acc,none"


@pytest.mark.parametrize("kind", ["loses", "undecided"])
@given(data=st.data())
def test_what_is_lost_is_said_with_its_bounds_and_its_margin(
    kind: str, data: st.DataObject
) -> None:
    one = data.draw(st.from_type(RequirementVerdict))
    for words in WORDS.values():
        said = words.kill({"kind": kind, "requirements": [one]})
        if None not in (one["loss"], one["low"], one["high"]):
            sign = -1 if one["kind"] == "gate" else 1
            assert {number(sign * one[key]) for key in ("loss", "low", "high")} <= {
                *re.findall(r"-?[\d,]+\.\d", said)
            }, said
            assert f"{sign * one['margin']:g}" in said


def test_a_minimum_is_told_as_a_score_and_not_as_a_loss() -> None:
    gate: RequirementVerdict = {
        **LOSS, "kind": "gate", "metric": "f1", "margin": -40.0, "loss": -30.0, "low": -35.0,
        "high": -25.0, "verdict": "fails",
    }  # fmt: skip
    found = {"kind": "loses", "requirements": [gate]}
    assert english.kill(found).endswith("qa, F1: 30.0 % (25.0 to 35.0) where 40 are asked for")
    assert "qaのF1：30.0 %［25.0〜35.0］、下限40 %" in japanese.kill(found)


LOSS: RequirementVerdict = {
    "task": "qa", "metric": "has_ans_f1", "kind": "loss", "cluster": "passage", "loss": 2.5,
    "low": -1.0, "high": 6.0, "margin": 5.0, "items": 200, "clusters": 80, "verdict": "undecided",
    "why": None,
}  # fmt: skip


# --- a decision -----------------------------------------------------------------------------------

NUMBER = {"value": 10.0, "low": 9.0, "high": 11.0, "kind": ""}
UNDECIDED: Standing = {
    "verdict": "undecided", "reference": False, "requirements": [LOSS], "inside": True,
    "probability": 0.9, "more": [{"task": "qa", "items": 1234}],
}  # fmt: skip
HOLDS: Standing = {
    **UNDECIDED, "verdict": "holds", "requirements": [{**LOSS, "high": 4.0, "verdict": "holds"}],
    "probability": None, "more": [],
}  # fmt: skip


def candidate(quant: str, standing: Standing | None, speed: float) -> Candidate:
    return {
        "id": f"pi/m/{quant}/default", "variant": f"m {quant}", "device": "pi", "model": "m",
        "quant": quant, "runtime": "default", "computation": "f16", "quality": NUMBER, "f1": NUMBER,
        "speed": {**NUMBER, "value": speed}, "energy": None,
        "memory": {**NUMBER, "value": 2.0**31}, "standing": standing, "checks": {},
        "killed_by": [] if standing is None or standing["verdict"] == "holds"
        else [{"kind": "undecided", "requirements": [LOSS]}],
        "cautions": [],
    }  # fmt: skip


WIDE, NARROW = candidate("Q8_0", HOLDS, 10.0), candidate("Q4_0", UNDECIDED, 20.0)
SUPPLY: Supply = {"item": "question", "asked": 1000, "key": "quality.qa.questions", "value": 1000}


def choice(*candidates: Candidate, **more: object) -> Choice:
    return {
        "study": "s", "workload": "chat", "task": "qa", "prefer": "quality", "confidence_pct": 95.0,
        "constraints": {}, "supply": {"qa": SUPPLY}, "candidates": [*candidates], "decisions": [],
        **more,
    }  # fmt: skip


def decided(
    pick: Candidate | None,
    standing: str,
    smaller: Candidate | None = None,
    by: tuple[ProvisionalBy, ...] = ("quality",),
) -> Decision:
    able = [c["id"] for c in (pick,) if c and not c["killed_by"]]
    return {
        "where": "overall", "candidates": 2, "pick": pick and pick["id"], "standing": standing,
        "provisional_by": [*by] if standing == "provisional" else [],
        "smaller": smaller and {"id": smaller["id"], "probability": 0.9,
                                "more": [{"task": "qa", "items": 1234}]},
        "runner_up": None, "able": able, "front": able, "near_best": able, "may_be_best": able,
        "groups": {}, "steps": [], "by_preference": {}, "would_change": [], "nearest": None,
        "killed": {"undecided": 2},
    }  # fmt: skip


def test_a_pick_that_is_shown_is_not_called_provisional() -> None:
    made = decided(WIDE, "shown")
    assert "for now" not in " ".join(english.decision(made, choice(WIDE, NARROW)))
    assert "暫定" not in "".join(japanese.decision(made, choice(WIDE, NARROW)))


def test_a_provisional_pick_says_why_what_it_costs_and_what_would_tell() -> None:
    made, of = decided(WIDE, "provisional", NARROW), choice(WIDE, NARROW)
    take, why, price, tells, *_ = english.decision(made, of)
    assert take.startswith("Overall, take m Q8_0 on pi for now: 10 tokens/s")
    assert why.startswith("This is provisional: others would be taken")
    assert "is m Q4_0; that it holds has, by itself, a probability of 90 %" in price
    assert "The price of caution: 10 tokens/s where it has 20 and 2,147 MB of memory" in price
    assert tells == (
        "About 1,300 more questions of qa (quality.qa.questions: 2300) would tell, four times in "
        "five."
    )
    take, why, price, tells, *_ = japanese.decision(made, of)
    assert "を暫定的に推奨します" in take and why.startswith("これは暫定の結論です")
    assert "速度は20に対して10 トークン/秒" in price
    assert "quality.qa.questions: 2300" in tells


def test_a_limit_to_ask_for_instead_lets_in_what_it_is_for() -> None:
    """The same in every language: 7.06 would still shut out what writes 7.0577."""
    eased: Change = {
        "change": "relax", "constraint": "tps_at_least", "limit": 10.0, "to": 7.0577,
        "unit": "tokens/s", "pick": NARROW["id"],
    }  # fmt: skip
    made: Decision = {**decided(None, "none"), "would_change": [eased]}
    for language in (english, japanese):
        said = " ".join(language.decision(made, choice(WIDE, NARROW)))
        assert "7.05" in said and "7.06" not in said


def test_a_pick_that_is_undecided_says_that_nothing_is_shown() -> None:
    made, of = decided(NARROW, "provisional"), choice(NARROW)
    english_, japanese_ = english.decision(made, of), japanese.decision(made, of)
    assert "so the widest of these is taken" in english_[1]
    assert "That it holds has, by itself, a probability of 90 %; about 1,300 more" in english_[2]
    assert not any("runner-up" in sentence for sentence in english_)
    assert "ビット数が最大の形式" in japanese_[1] and "90 %" in japanese_[2]


def test_a_pick_that_was_disturbed_says_so() -> None:
    made = decided(WIDE, "provisional", by=("disturbed",))
    take, why, *rest = english.decision(made, choice(WIDE))
    assert "for now" in take and "other programs took too much of the processors" in why
    assert not any("quality within the margins" in sentence for sentence in rest)
    both = decided(WIDE, "provisional", NARROW, by=("quality", "disturbed"))
    said = english.decision(both, choice(WIDE, NARROW))
    assert "other programs" in said[1] and "others would be taken" in said[2]
    japanese_ = japanese.decision(both, choice(WIDE, NARROW))
    assert len(japanese_) == len(said) and "他のプログラム" in japanese_[1]


@pytest.mark.parametrize("supply", [SUPPLY, {**SUPPLY, "key": None, "value": None}])
@pytest.mark.parametrize("item", get_args(Supply.__annotations__["item"]))
def test_what_would_tell(item: str, supply: Supply) -> None:
    more: list[MoreItems] = [{"task": "qa", "items": 7}]
    found = {"qa": {**supply, "item": item}}
    check({"en": english.more(more, found), "ja": japanese.more(more, found)})
    assert f"7 more {item}s of qa" in english.more(more, found)
    if supply["key"] is None:
        assert "all 1,000 there are were asked" in english.more(more, found)
    check({"en": english.more([], found), "ja": japanese.more([], found)})


def test_what_never_answering_would_score_is_said_before_everything_else() -> None:
    below = {"kind": "below abstaining", "f1_pct": 26.0, "abstaining_pct": 33.6}
    pick: Candidate = {**WIDE, "cautions": [{"kind": "measured once"}, below]}
    for words in WORDS.values():
        first, *others = words.decision(decided(pick, "shown"), choice(pick))
        assert "26.0" in first and "33.6" in first
        assert not any("33.6" in sentence for sentence in others), "once"
        assert words.alarms(pick) == [first]


def test_another_confidence_is_said() -> None:
    for words in WORDS.values():
        said = words.decision(decided(WIDE, "shown"), choice(WIDE, confidence_pct=80.0))
        assert "80 %" in said[-1] and "95 %" in said[-1]


def test_who_may_be_the_best() -> None:
    other = candidate("Q6_K", HOLDS, 12.0)
    ids = [WIDE["id"], other["id"]]
    made: Decision = {**decided(WIDE, "shown"), "able": ids, "near_best": ids, "may_be_best": ids}
    of = choice(WIDE, other)
    assert "Q8_0 and Q6_K are shown to be within the margin" in (english.contenders(made, of) or "")
    assert "may be any of Q8_0 and Q6_K" in (english.contenders(made, of) or "")
    check({language: words.contenders(made, of) or "" for language, words in WORDS.items()})
    alone: Decision = {**made, "may_be_best": ids[:1]}
    assert (english.contenders(alone, of) or "").endswith("the best is Q8_0.")
    check({language: words.contenders(alone, of) or "" for language, words in WORDS.items()})
    assert {words.contenders(decided(WIDE, "shown"), of) for words in WORDS.values()} == {None}


def test_of_very_many_contenders_the_first_are_named_and_the_others_counted() -> None:
    many = [candidate(f"Q{i}_X", HOLDS, 10.0 + i) for i in range(20)]
    ids = [one["id"] for one in many]
    step = {"objective": "quality", "left": ids}
    made: Decision = {
        **decided(many[0], "shown"), "able": ids, "near_best": ids, "may_be_best": ids,
        "steps": [step], "front": ids, "runner_up": ids[1],
    }  # fmt: skip
    for language, (six, three) in {
        english: ("14 more", "16 more"), japanese: ("ほか14件", "ほか16件"),
    }.items():  # fmt: skip
        said = language.contenders(made, choice(*many)) or ""
        assert said.count(six) == 2 and "Q5_X" in said and "Q6_X" not in said
        assert any(three in text for text in language.decision(made, choice(*many)))


@pytest.mark.parametrize("name", CHECKS)
def test_a_limit_is_said_in_words(name: Limit) -> None:
    said = {language: words.limit(name, 2.0**31) for language, words in WORDS.items()}
    check(said)
    assert not any(name in text for text in said.values())


def test_what_was_asked_for() -> None:
    nothing = {language: words.asked(choice(WIDE)) for language, words in WORDS.items()}
    check(nothing)
    assert nothing["en"].startswith("No limit was asked for.")
    limited = choice(WIDE, constraints={"tps_at_least": 5.0})
    check({language: words.asked(limited) for language, words in WORDS.items()})
    assert "token generation of at least 5 tokens/s" in english.asked(limited)


@pytest.mark.parametrize(
    ("board", "is_pi"), [("Raspberry Pi 5 Model B", True), (None, False), ("Orange Pi 5", False)]
)
def test_which_board_it_was(board: str | None, is_pi: bool) -> None:
    found = made_records.machine(board)
    check({language: words.place("shelf", found) for language, words in WORDS.items()})
    assert ("no Raspberry Pi" in english.place("shelf", found)) != is_pi
    assert ("ではない" in japanese.place("shelf", found)) != is_pi
    check({language: words.place("shelf", None) for language, words in WORDS.items()})


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_what_candidates_are_counted_by(reason: str) -> None:
    check({language: words.ruled_out_by(reason) for language, words in WORDS.items()})
    assert english.ruled_out_by("tps_at_least") == "token generation"
    assert japanese.ruled_out_by("tps_at_least") == "生成速度"


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
        reason = found["reason"]
        assert said == {"en": reason, "ja": LABELS.get(reason, reason)}
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


FAULTS = {
    *(
        "failed",
        "throttled",
        "overflow",
        "disturbed",
        "over HTTP",
        "parity",
        "unscored",
        "computation",
        "too few",
    ),
    *("no quality", "broken"),
    *("loses", "undecided", "estimated", "unmeasured"),
}
"""The words of `llmpi.decide.candidates.blamed` that are no constraint."""
Why = Literal["too few clusters", "not compared"]
UNKNOWN: PredictedCell = {"device": "pi", "reason": None}
"""As much of one as its reason needs."""


@pytest.mark.parametrize(
    "codes",
    [Status, Tier, Mark, CostPart, Shown, PairVerdict, PredictionVerdict, Why],
)
def test_every_code_has_its_word(codes: object) -> None:
    assert {*get_args(codes)} <= {*LABELS}


def test_every_verdict_of_a_descent_has_its_word() -> None:
    assert {*get_args(DescentVerdict.__annotations__["decision"])} <= {*LABELS}


@pytest.mark.parametrize("kind", get_args(Unstated.__annotations__["kind"]))
def test_where_a_figure_is_from_that_the_study_does_not_state(kind: str) -> None:
    check({language: words.source({"kind": kind}) for language, words in WORDS.items()})


@pytest.mark.parametrize("tier", [None, *get_args(Tier)])
def test_where_a_measured_figure_is_from(tier: Tier | None) -> None:
    found = {"kind": "measured", "tier": tier}
    check({language: words.source(found) for language, words in WORDS.items()})


def test_what_the_study_states_stays_as_it_is_written() -> None:
    stated = {"kind": "stated", "source": "estimated"}
    assert {words.source(stated) for words in WORDS.values()} == {"estimated"}


def test_tables_of_words_are_whole() -> None:
    assert english.REASONS.keys() == japanese.REASONS.keys() == FAULTS
    assert {*japanese.LIMITS} == {*get_args(Limit)} == {*CHECKS}
    assert {*japanese.COST_UNITS} == {*get_args(CostUnit)}
    assert {*japanese.METHOD} == {*get_args(DifferenceKey)}
    assert japanese.OBJECTIVES.keys() == japanese.SUPERLATIVES.keys() == english.SUPERLATIVES.keys()


@pytest.mark.parametrize(
    ("assumption", "found"),
    [
        ("hours_per_day", (None, "hours_per_day")),
        ("hardware.board", (None, "hardware.board")),
        ("alternatives.cloud.price_per_hour", ("cloud", "price_per_hour")),
        ("alternatives.jetson.hardware.board", ("jetson", "hardware.board")),
        ("alternatives.rented-hardware.price_per_hour", ("rented-hardware", "price_per_hour")),
        ("alternatives.hardware.hardware.board", ("hardware", "hardware.board")),
        ("alternatives.hardware.price_per_hour", ("hardware", "price_per_hour")),
    ],
)
def test_whose_a_figure_of_the_money_is(assumption: str, found: tuple[str | None, str]) -> None:
    assert whose(assumption) == found
    assert english.assumption(assumption) and japanese.assumption(assumption)


def test_without_limits_there_is_nothing_to_keep_to() -> None:
    free = {"constraints": {}, "prefer": "speed", "candidates": []}
    assert "that" not in english.asked(free) and "制約と" not in japanese.asked(free)
