"""The blind sheet: what its page gives away, and what is read back from what it saves."""

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_judgements import KEY, saved

from llmpi.errors import LlmpiError
from llmpi.quality.ab.blind_sheet import read_judgements, write_sheet
from llmpi.quality.ab.prompts import Prompt

HOSTILE = "</div></script><script>alert(1)</script><!-- & \" ' {{ 7 * 7 }}"


def prompts(count: int, **more: Any) -> list[Prompt]:
    return [Prompt(id=f"p{n}", prompt=f"question {n}", **more) for n in range(count)]


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"text": text, "error": None, "stopped": True, "new_tokens": 1} for text in texts]


def sheet(path: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """The key of a page on which A says "alpha N", and B "beta N"."""
    a = answers(*(f"alpha {n}" for n in range(count)))
    b = answers(*(f"beta {n}" for n in range(count)))
    return write_sheet(path, ("smol Q8_0", "qwen Q2_K"), prompts(count), a, b, seed)


class Shown(HTMLParser):
    """Articles of a page: the texts in each, and every tag and attribute of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.ids: list[str] = []
        self.texts: list[list[str]] = []
        self.tags: list[str] = []
        self.addresses: list[str | None] = []
        self._depth = 0
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given_ = dict(attrs)
        self.addresses += [given_[name] for name in ("src", "href", "action") if name in given_]
        if tag == "article":
            self.ids.append(json.loads(given_["data-id"] or ""))
            self.texts.append([])
        if given_.get("class") == "text":
            self.texts[-1].append("")
            self._depth = 1

    def handle_endtag(self, tag: str) -> None:
        self._depth = 0

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.texts[-1][-1] += data


def test_page_shows_both_answers_where_the_key_says(tmp_path: Path) -> None:
    key = sheet(tmp_path / "s.html", 10)
    shown = Shown(tmp_path / "s.html")
    assert shown.ids == list(key["prompts"]) == [f"p{n}" for n in range(10)]
    for n, (question, left, right) in enumerate(shown.texts):
        assert question == f"question {n}"
        sides = {"a": f"alpha {n}", "b": f"beta {n}"}
        assert sides.pop(key["prompts"][f"p{n}"]["left"]) == left
        assert list(sides.values()) == [right]
    assert (key["a"], key["b"]) == ("smol Q8_0", "qwen Q2_K")


def test_order_is_drawn_and_fair(tmp_path: Path) -> None:
    def lefts(count: int, seed: int) -> list[str]:
        key = sheet(tmp_path / "s.html", count, seed)
        return [prompt["left"] for prompt in key["prompts"].values()]

    orders = {tuple(lefts(8, seed)) for seed in range(8)}
    assert all(order.count("a") == 4 for order in orders), "neither side is favoured"
    assert len(orders) > 4
    assert {lefts(1, seed)[0] for seed in range(8)} == {"a", "b"}
    assert lefts(8, 1) == lefts(8, 1)


def test_page_gives_nothing_away(tmp_path: Path) -> None:
    """Other names, and A swapped with B: if each side shows the same, it is the same page."""
    one, two = tmp_path / "1.html", tmp_path / "2.html"
    key = sheet(one, 6)
    a, b = answers(*(f"alpha {n}" for n in range(6))), answers(*(f"beta {n}" for n in range(6)))
    flip = {"a": "b", "b": "a"}
    for seed in range(200):
        swapped = write_sheet(two, ("other", "names"), prompts(6), b, a, seed)
        if all(
            flip[swapped["prompts"][i]["left"]] == key["prompts"][i]["left"]
            for i in swapped["prompts"]
        ):
            break
    assert swapped["sheet"] == key["sheet"]
    assert one.read_bytes() == two.read_bytes()
    assert "Q8_0" not in one.read_text() and "qwen" not in one.read_text()


def test_identical_answers_are_not_shown(tmp_path: Path) -> None:
    failed = {"text": "", "error": "needs 90 of 64 tokens of context", "stopped": False}
    a = [*answers("same", "left"), failed, failed]
    b = [*answers(" same\n", "right"), *answers(" "), *answers("something")]
    key = write_sheet(tmp_path / "s.html", ("a", "b"), prompts(4), a, b, 0)
    shown = Shown(tmp_path / "s.html")
    assert shown.ids == ["p1", "p3"]
    assert key["prompts"]["p0"]["left"] is None
    assert "both answers are the same: 2." in shown.html
    assert "no answer" in shown.html
    assert "64 tokens" not in shown.html, "the reason may tell who it is"


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")))
def test_any_text_shows_as_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("sheet") / "s.html"
    asked = [Prompt(id=f"id {HOSTILE}", prompt=f"{text}{HOSTILE}", system=f"s{text}")]
    write_sheet(path, ("a", "b"), asked, answers(f"({text})"), answers(HOSTILE), 0)
    shown = Shown(path)
    assert shown.ids == [asked[0].id]
    system, question, *both = shown.texts[0]
    assert (system, question) == (f"s{text}", f"{text}{HOSTILE}")
    assert sorted(both) == sorted([f"({text})", HOSTILE])
    assert shown.tags.count("script") == 1


def test_page_reaches_nothing_and_runs_only_its_own(tmp_path: Path) -> None:
    sheet(tmp_path / "s.html", 2)
    shown = Shown(tmp_path / "s.html")
    assert shown.addresses == []
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp", shown.html)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown.html)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy[1]).split(";"))
    assert [rules.pop(name) for name in ("default-src", "base-uri", "form-action")] == [
        "'none'"
    ] * 3
    for tag in ("script", "style"):
        body = re.search(f"<{tag}>(.*?)</{tag}>", shown.html, re.DOTALL)
        assert body
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert rules.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert rules == {}


def test_answers_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="argument"):
        write_sheet(tmp_path / "s.html", ("a", "b"), prompts(2), answers("x"), answers("y", "z"), 0)
    assert not (tmp_path / "s.html").exists()


# --- reading back ---------------------------------------------------------------------------------


def always_b(count: int) -> dict[str, str]:
    return {
        f"p{n}": "left" if KEY["prompts"][f"p{n}"]["left"] == "b" else "right" for n in range(count)
    }


def test_unblinds_and_counts(tmp_path: Path) -> None:
    verdicts = {
        "p0": "left",
        "p1": "left",
        "p2": "right",
        "p3": "right",
        "p4": "tie",
        "p5": "both_bad",
    }
    result = read_judgements(saved(tmp_path, verdicts, judge="Ada"), KEY)
    assert (result["judge"], result["a"], result["b"]) == ("Ada", "smol Q8_0", "smol Q2_K")
    assert {j["id"]: j["verdict"] for j in result["judgements"]} == {
        "p0": "a_better", "p1": "b_better", "p2": "b_better", "p3": "a_better",
        "p4": "tie", "p5": "both_bad", "same": "tie",
    }  # fmt: skip
    assert result["all"] == {
        "prompts": 13, "unjudged": 6, "identical": 1, "a_better": 2, "b_better": 2, "tie": 2,
        "both_bad": 1, "p": 1.0, "p_adjusted": 1.0, "verdict": "not distinguishable",
    }  # fmt: skip
    assert result["tags"]["t"]["prompts"] == 8
    assert result["tags"]["t"]["tie"] == 1
    assert result == json.loads(json.dumps(result))


def test_sign_test_by_tag_is_adjusted(tmp_path: Path) -> None:
    """8 of 8 and 12 of 12 for B: p is 2 / 2^n; Holm doubles the smaller one."""
    result = read_judgements(saved(tmp_path, always_b(12)), KEY)
    assert result["all"]["p"] == pytest.approx(2 / 2**12)
    assert result["all"]["verdict"] == "b better"
    assert result["tags"]["t"]["p"] == result["tags"]["t"]["p_adjusted"] == pytest.approx(2 / 2**8)
    assert result["tags"]["u"]["p_adjusted"] == pytest.approx(2 * 2 / 2**12)


def test_few_judgements_do_not_distinguish(tmp_path: Path) -> None:
    """5 of 5 is p = 0.0625, 6 of 6 is 0.03125."""
    assert (
        read_judgements(saved(tmp_path, always_b(5)), KEY)["all"]["verdict"]
        == "not distinguishable"
    )
    assert read_judgements(saved(tmp_path, always_b(6)), KEY)["all"]["verdict"] == "b better"


def test_nothing_judged(tmp_path: Path) -> None:
    counts = read_judgements(saved(tmp_path, {}), KEY)["all"]
    assert (counts["unjudged"], counts["tie"], counts["p"]) == (12, 1, 1.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "as a whole: Invalid JSON"),
        ("[" * 100_000, "as a whole: Invalid JSON"),
        ("[]", "as a whole: Input should be an object"),
        ('{"sheet": 1, "judge": null, "judgements": []}', "sheet: Input should be a valid string"),
        ('{"sheet": "f", "judgements": []}', "judge: Field required"),
        (
            json.dumps({"sheet": "e" * 64, "judge": None, "judgements": []}),
            "sheet eeeeeeee, the key",
        ),
    ],
)
def test_not_the_sheets_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "j.json"
    path.write_text(text)
    with pytest.raises(LlmpiError, match=complaint) as raised:
        read_judgements(path, KEY)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("judgement", "complaint"),
    [
        ({"id": "p7", "verdict": "a"}, ".verdict: Input should be 'left', 'right', 'tie' or"),
        ({"id": "p77", "verdict": "tie"}, ": the sheet shows no prompt 'p77'"),
        ({"id": "same", "verdict": "left"}, ": the sheet shows no prompt 'same'"),
        ({"id": "p0", "verdict": "tie"}, ": prompt 'p0' is judged twice"),
        ({"id": ["p7"], "verdict": "tie"}, ".id: Input should be a valid string"),
        ({"id": "p7"}, ".verdict: Field required"),
        ("p7", ": Input should be an object"),
    ],
)
def test_impossible_judgement(tmp_path: Path, judgement: Any, complaint: str) -> None:
    path = saved(tmp_path, {}, judgements=[{"id": "p0", "verdict": "left"}, judgement])
    with pytest.raises(LlmpiError, match=re.escape(f"{path}: judgements.1{complaint}")):
        read_judgements(path, KEY)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LlmpiError, match="cannot be read"):
        read_judgements(tmp_path / "none.json", KEY)
