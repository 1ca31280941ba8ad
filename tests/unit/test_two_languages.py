"""Page and memo say the same in both languages: numbers, names, and what there is to know."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_demo
import made_records as made
import made_study
import pytest
import small_results as small
from cold_page import TOKEN, TRANSLATED, Page
from made_costs import COST
from made_service import answered, bench, carried, refused, settings

from llmpi.compare.compare import compare
from llmpi.compare.measured import Measured
from llmpi.compare.page import write_page as compare_page
from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.decide.records import Recommendation
from llmpi.report.memo.facts import facts
from llmpi.report.memo.text import render
from llmpi.report.page.write import write_page
from llmpi.report.words.languages import WORDS
from llmpi.study.computation import DEFAULT
from llmpi.study.decision import Constraints
from llmpi.study.runs import Session
from llmpi.study.study import Study
from llmpi.summary.read import read_records
from llmpi.summary.records import Summary
from llmpi.summary.study import summarize

LLAMAS = {
    name: {"source": {"hub": f"meta-llama/Llama-3.2-{size}-Instruct"}}
    for name, size in (("llama-1b", "1B"), ("llama-3b", "3B"))
}
STUDIES: dict[str, dict[str, object]] = {
    "prices": {"cost": COST, "constraints": {"tps_at_least": 12, "memory_at_most": "4G"}},
    "no scores": {"quality": {}, "constraints": {"prefer": "speed"}},
    "two models": {"models": LLAMAS, "quants": ["F16", "Q4_0", "Q2_K"]},
    "answers on the clock": {
        "workloads": {
            "chat": {"prompt_tokens": 32, "output_tokens": 50},
            "real": {"kind": "answers", "task": "qa"},
        }
    },
    "nothing fits": {"constraints": {"tps_at_least": 20}},
}


@pytest.fixture(scope="module", params=["demo", *STUDIES])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Summary, Recommendation]]:
    """The records of a study, made by the real code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("study"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        study = written(request.param)
        summary, requirements = summarize(study, read_records(study))
        choice = recommend(summary, requirements, study.constraints or Constraints())
        money = costs(summary, study.cost, choice) if study.cost else None
        yield summary, {**choice, "money": money}


def written(name: str) -> Study:
    if name == "demo":
        made_demo.write_demo(0, passages=25, losses=(0, 0, 0, 0, 0.3))
        return made_demo.study(25)
    study = made_study.study(**STUDIES[name])
    made_study.write_records(study)
    return study


NO_NUMBERS = re.compile(
    "|".join(
        (
            *("SmolLM2-135M", "SQuAD v2", r"M\.2", "CO2", r"arXiv 2504\.02118", "F1"),
            "llama-[13]b",
            r"\bI?Q\d_\w+", r"\bB?F16\b", "m-135m", "5 V",
            r"Raspberry Pi 5(?: Model B Rev [\d.]+)?",
            *map(re.escape, TRANSLATED),
        )
    ),
    re.ASCII,
)  # fmt: skip
"""Names that hold a digit."""
IDIOMS = re.compile(
    r"(?<![\d.,])1(?=日|秒|時間当|トークン|個当たり|語あたり|語当たり|台|つ|行目)"
    r"|^[123]\.(?= )|100(?=点満点|万トークン)|of 100\b",
    re.MULTILINE,
)
"""What one language says in digits and the other in words: a day, one board, a million tokens."""


def numbers(text: str) -> Counter[str]:
    """As they are told, without the commas; a million and 万 written out."""
    text = re.sub(r"([\d.,]+) million\b", lambda n: _times(n[1], 1e6), text)
    text = IDIOMS.sub(" ", NO_NUMBERS.sub(" ", text))
    text = re.sub(r"([\d.,]+)万(?!トークン当)", lambda n: _times(n[1], 1e4), text)
    return Counter(token.replace(",", "") for token in TOKEN.findall(text))


def _times(digits: str, factor: float) -> str:
    return f"{float(digits.replace(',', '')) * factor:.0f}"


NAMES = re.compile(r"\bI?Q\d_\w+|\bB?F16\b|llama-[13]b|m-135m|\w+_at_(?:least|most)", re.ASCII)


def test_the_memo(told: tuple[Summary, Recommendation]) -> None:
    """Point by point and risk by risk; only the date is told otherwise."""
    content = facts(*told)
    english, japanese = (blocks(render(content, language)) for language in ("en", "ja"))
    assert len(english) == len(japanese)
    for ours, theirs in zip(english, japanese, strict=True):
        if "2026" in ours:
            continue
        assert {*numbers(ours)} == {*numbers(theirs)}, (ours, theirs)
        assert {*NAMES.findall(ours)} == {*NAMES.findall(theirs)}, (ours, theirs)


def blocks(memo: str) -> list[str]:
    """Its paragraphs, points and rows."""
    return [line for line in memo.splitlines() if line]


def test_the_page(told: tuple[Summary, Recommendation], tmp_path: Path) -> None:
    """Block by block."""
    write_page(*told, tmp_path / "index.html")
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    english, japanese = page.of("en"), page.of("ja")
    assert [block.tag for block in english] == [block.tag for block in japanese]
    for ours, theirs in zip(english, japanese, strict=True):
        assert numbers(ours.text) == numbers(theirs.text), (ours, theirs)
        assert Counter(NAMES.findall(ours.text)) == Counter(NAMES.findall(theirs.text)), ours


def test_what_the_shelf_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ssh = {"transport": "ssh", "host": "pi.local"}
    service = {"variant": {"model": "m", "quant": "F16"}, "waiting": 16}
    given = {"devices": {"a": ssh, "b": ssh, "c": ssh}, "languages": ["en", "ja"]}
    summary, _ = small.summary(**given, service=service)
    many = [answered(float(i)) for i in range(120)]
    by_chance: Any = {"kind": "open", "per_s": 0.25, "seed": 0}
    alone: Any = {"kind": "closed", "clients": 1}
    loads = [
        carried([*many, refused(3.0), refused(4.0, 429)], load=by_chance, others=7),
        carried(stopped=True, computed_prompt_tokens=1000, distinct=False, load=alone),
        carried(prompts={"kind": "questions", "task": "qa", "questions": 6}),
    ]
    found = {
        "a": bench(loads, device="a"),
        "b": bench(device="b"),
        "c": bench(device="c", settings=settings(waiting=5), seen={"release": None, "at": "12:00"}),
    }
    write_page(summary, None, Path("index.html"), found)
    page = Page(Path("index.html").read_text(encoding="utf-8"))
    english, japanese = page.of("en"), page.of("ja")
    assert [block.tag for block in english] == [block.tag for block in japanese]
    for ours, theirs in zip(english, japanese, strict=True):
        assert numbers(ours.text) == numbers(theirs.text), (ours, theirs)


def test_the_page_recommends_what_the_memo_does(told: tuple[Summary, Recommendation]) -> None:
    """Nothing, where nobody tested how well anything answers; and no limit is kept and is not."""
    memo, choice = render(facts(*told), "en"), told[1]
    [overall] = [one for one in choice["decisions"] if one["where"] == "overall"]
    said = " ".join(WORDS["en"].decision(overall, choice))
    nothing = "nothing can be recommended"
    assert (nothing in memo) == (nothing in said)
    pick = next((c for c in choice["candidates"] if c["id"] == overall["pick"]), None)
    kept = said.partition("it keeps to ")[2].partition(". ")[0]
    for name, check in pick["checks"].items() if pick else ():
        assert (check["shown"] is False) != (WORDS["en"].limit(name, check["limit"]) in kept)


def test_a_comparison(tmp_path: Path) -> None:
    """Line by line, with all that one can say: worse and failed cells, another engine, marks,
    parts of cells, scores."""

    def session(tps: float, version: str = "0.3.36", **more: Any) -> Any:
        repetitions = [made.repetition(1.0, [1 / tps * (1 + i / 900)] * 4) for i in range(5)]
        found: Any = made.session({"chat": {**made.cell(repetitions), **more}})  # type: ignore[typeddict-item]
        found["environment"]["engine"]["version"] = version
        return found

    talks = made.conversation(("kept", "restored"), turns=3)
    kept, restored = made.talk([4.0, 1.0, 1.5]), made.talk([4.0, 2.0, 2.0])
    whole = made.conversation_cell(talks, {"kept": [kept], "restored": [restored]})
    part = made.conversation_cell(talks, {"kept": [kept]}, lost="no memory")
    sessions: dict[str, list[Any]] = {
        "old": [*map(session, (10, 20, 30, 40)), made.session({"talk": whole})],
        "new": [
            session(7, "0.3.40"),
            made.failed("died"),
            session(30, marks=["throttled"]),
            session(40, output=[5]),
            made.session({"talk": part}),
        ],
    }
    names = [Session("pi", "m", q, "default") for q in ("F16", "Q8_0", "Q6_K", "Q4_0", "Q2_K")]
    before, after = (
        Measured(name, tmp_path, dict(zip(names, of, strict=True)), [])
        for name, of in sessions.items()
    )
    score: Any = {
        **{"task": "qa", "metric": "f1", "model": "m", "quant": "Q4_0", "computation": DEFAULT},
        **{"items": 90, "before_pct": 70.1, "after_pct": 61.2, "loss_points": 8.9},
        **{"low_points": 6.2, "high_points": 11.8, "margin_points": 5.0, "verdict": "worse"},
    }
    compare_page({**compare(before, after), "quality": [score]}, tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    english, japanese = (
        re.findall(r"<(?:h\d|p|li|th|td)\b[^>]*>(.*?)</(?:h\d|p|li|th|td)>", one, re.DOTALL)
        for one in page.partition("<main")[2].split('<div lang="')[1:]
    )
    assert len(english) == len(japanese) > 40
    for ours, theirs in zip(english, japanese, strict=True):
        assert numbers(ours) == numbers(theirs), (ours, theirs)
    assert "talk, prefix restored: fails now" in page and "talk、接頭部（復元）：後では失敗" in page
    assert "not judged, after: throttled" in page and "判定せず（後：速度制限）" in page


def test_what_there_is_to_know(told: tuple[Summary, Recommendation]) -> None:
    """Every caution of a pick, every limit that it is not shown to keep, in each language."""
    choice = told[1]
    known = {candidate["id"]: candidate for candidate in choice["candidates"]}
    for taken in choice["decisions"]:
        if taken["pick"] is None:
            continue
        pick = known[taken["pick"]]
        for words in WORDS.values():
            said = " ".join(words.decision(taken, choice))
            for caution in pick["cautions"]:
                assert words.caution(caution) in said
            for name, check in pick["checks"].items():
                assert check["shown"] is not False or words.limit(name, check["limit"]) in said
