"""The user's own prompts, asked of an endpoint: what is held against what is expected, and where it
stands."""

import json
from pathlib import Path
from typing import Any

import made_records as made
import pytest
import small_results as small
from endpoint import Endpoint, events, request
from hypothesis import given
from hypothesis import strategies as st
from made_http import RUNTIMES, cell_over_http, served, session_over_http
from made_records import write
from pydantic import ValidationError
from shown_page import Page
from small_results import CELL

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.device.measure.http_events import LINE_BYTES
from llmpi.device.measure.questions import NOTHING, asked
from llmpi.quality.ab.asked import not_to_be_asked, score_asked
from llmpi.quality.ab.pairs import compare_pair
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.ab.records import AbAsked
from llmpi.records import check, failed
from llmpi.report.page.write import write_page
from llmpi.study import inputs, settings
from llmpi.study.decision import Constraints
from llmpi.study.runs import asked_over_http
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask


def told(text: str, reason: str = "stop") -> bytes:
    """A chat's answer in a stream."""
    delta = {"choices": [{"delta": {"content": text}, "finish_reason": None}]}
    usage = {"prompt_tokens": 40, "completion_tokens": 8 if reason == "length" else 2}
    end = {"choices": [{"delta": {}, "finish_reason": reason}], "usage": usage}
    return events(delta, end)


THERE = {**CELL, "runtime": "server"}
QA = {"qa": {"task": "squad", "squad_file": "qa.json"}}
PROMPTS = [
    {"id": "one", "prompt": "Say yes", "expect": {"contains": "yes"}, "tags": ["t"]},
    {"id": "two", "prompt": "Say no", "expect": {"not_contains": "yes"}},
    {"id": "three", "prompt": "Say what you like"},
]
OWN = {
    "own": {"task": "ab", "prompts": "prompts.jsonl"},
    "held": {"task": "ab", "prompts": "prompts.jsonl", "grammar": True},
    "harness": {"task": "lm_eval", "tasks": ["arc_easy"]},
}
PART: Any = {"status": "ok", "on_device": True, "server": "s", "thinking_told": True}
ASKED_WITH: Any = {"max_new_tokens": 8, "thinking_tokens": None}


def own_prompts(folder: Path, prompts: list[Any]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    return path


def own_asked(path: Path, *said: dict[str, object]) -> AbAsked:
    """What is scored of what was said, in two parts."""
    parts: Any = [
        {**PART, "answers": answers}
        for answers in (
            [{**NOTHING, **one} for one in said[:1]],
            [{**NOTHING, **o} for o in said[1:]],
        )
    ]
    claimed: Any = {
        "url": "u",
        "api": "chat",
        "key_variable": None,
        "model": "m",
        "claimed": CLAIMED,
    }
    found = score_asked(path, load_prompts(path), ASKED_WITH, claimed, parts)
    check(json.dumps(found), AbAsked, "answers")
    return found


STUDY: dict[str, Any] = {"runtimes": RUNTIMES, "quality": {**QA, **OWN}}
CLAIMED = {"file": None, "type": None, "template": None}


def test_an_answer_that_failed_meets_nothing_and_is_counted(tmp_path: Path) -> None:
    path = own_prompts(tmp_path, PROMPTS)
    found = own_asked(path, {"text": "yes", "stopped": True}, {"error": "500"}, {"stopped": True})
    assert found["summary"] == {"items": 3, "judged": 2, "passed_pct": 50, "errors": 1, "cut": 0}
    assert [one["passed"] for one in found["outcomes"]] == [True, False]


def test_a_call_in_place_of_content_is_no_answer_and_a_thought_is_not_scored(
    tmp_path: Path,
) -> None:
    path = own_prompts(tmp_path, PROMPTS)
    found = own_asked(
        path,
        {"text": "no", "thought": "yes", "stopped": True},
        {"text": "", "stopped": False},
        {"text": "", "stopped": True},
    )
    assert [one["passed"] for one in found["outcomes"]] == [False, False]
    assert "no text" in str(found["answers"][1]["error"])
    assert found["answers"][2]["error"] is None, "who ends by himself has said nothing"


SAID: dict[str, bytes] = {
    "cut": told("so far", "length"),
    "empty": told(""),
    "other words": told("好\n\u2028🧊 <script>"),
    "a call": events(
        {"choices": [{"delta": {"tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}]}
    ),
    "a filter": told("I", "content_filter"),
    "dropped": told("half of").partition(b'data: {"choices": [{"delta": {}')[0],
    "endless": b"data: " + b"x" * (LINE_BYTES + 1),
}


def test_each_prompt_has_its_answer_or_says_why(tmp_path: Path) -> None:
    """Over HTTP, with what stands before it; a bad answer costs itself and no other."""
    told_to: list[Any] = [{"id": i, "prompt": i, "system": "Be brief."} for i in SAID]
    path = own_prompts(tmp_path, [{**one, "expect": {"not_contains": "x"}} for one in told_to])
    prompts = load_prompts(path)
    with Endpoint(lambda sent: SAID[sent["messages"][-1]["content"]]) as endpoint:
        how: Any = {
            "what": "a test",
            "endpoint": request(endpoint.address),
            "conversations": [prompt.chat() for prompt in prompts],
            "thinking_told": True,
            **ASKED_WITH,
        }
        part = asked(how)
        assert [one["messages"][0]["content"] for one in endpoint.asked] == ["Be brief."] * 7
    found = score_asked(path, prompts, ASKED_WITH, how["endpoint"], [part])
    check(json.dumps(found), AbAsked, "answers")
    answers = dict(zip(SAID, found["answers"], strict=True))
    why = {
        "a call": "tool_calls",
        "a filter": "content_filter",
        "dropped": "breaks off",
        "endless": "more bytes",
    }
    assert {i for i, one in answers.items() if one["error"]} == set(why)
    assert all(words in str(answers[i]["error"]) for i, words in why.items())
    assert answers["other words"]["text"] == "好\n\u2028🧊 <script>"
    assert (answers["empty"]["text"], answers["empty"]["stopped"]) == ("", True)
    assert (answers["cut"]["text"], answers["cut"]["stopped"]) == ("so far", False)
    assert (found["summary"]["errors"], found["summary"]["cut"]) == (4, 1)
    assert [one["passed"] for one in found["outcomes"]] == [True] * 3 + [False] * 4


def test_prompts_with_tools_have_no_score_and_say_so(tmp_path: Path) -> None:
    path = own_prompts(tmp_path, [*PROMPTS, {"prompt": "x", "tools": [{"name": "lamp"}]}])
    why = not_to_be_asked(load_prompts(path))
    assert why and "1 of 4 have some, 'line-4'" in why["reason"]
    assert not_to_be_asked(load_prompts(own_prompts(tmp_path, PROMPTS))) is None


def test_tasks_that_want_logits_or_a_form_are_not_asked(tmp_path: Path) -> None:
    own_prompts(tmp_path, PROMPTS)
    study = small.study(runtimes=RUNTIMES, quality={**QA, **OWN})
    assert [task for _, task in asked_over_http(study)] == ["qa", "own"]


@pytest.fixture
def measured(results: object) -> AbAsked:
    """In process and over HTTP, and both asked the prompts."""
    write(layout.BENCH, small.bench(small.chat()), **CELL)
    write(layout.BENCH, session_over_http(cell_over_http(served())), **THERE)
    path = own_prompts(Path(), PROMPTS)
    said = {"stopped": True, "prompt_tokens": 9, "new_tokens": 2}
    found = own_asked(path, *({**said, "text": text} for text in "abc"))
    ours: Any = made.answered(None)
    outcomes = [{"id": i, "tags": [], "passed": True} for i in ("one", "two")]
    ours |= {"outcomes": outcomes, "prompts_sha256": found["prompts_sha256"]}
    ours["summary"] = {"items": 3, "judged": 2, "passed_pct": 100.0}
    write(layout.ASKED, found, **THERE, task="own")
    write(layout.QUALITY, ours, **CELL, task="own")
    return found


def test_own_prompts_stand_beside_those_in_process(measured: AbAsked) -> None:
    summary, requirements = small.summary(**STUDY)
    [cell] = summary["over_http"]
    [score] = cell["scores"]
    assert (score["pct"], score["against_pct"], score["difference_pct"]) == (50, 100, -50)
    [theirs] = (row for row in summary["rows"] if row["runtime"] == "server")
    assert theirs["quality"]["own"]["passed_pct"] == 50
    assert (score["errors"], score["cut"]) == (0, 0)
    assert theirs["answers"]["own"]["prompt_p50_tokens"] == 9
    for task, why in (("held", "held to a form"), ("harness", "how likely every token is")):
        assert theirs["quality"][task]["status"] == "not run"
        assert why in str(theirs["quality"][task]["reason"])
    told = {one["computation"] for r in requirements["requirements"] for one in r["variants"]}
    assert "http-server" not in told, "nothing is decided by it"


def test_thoughts_and_cut_answers_are_counted(measured: AbAsked) -> None:
    """Of a thought an endpoint does not tell how long it is."""
    said = {"text": "no", "thought": "hm", "prompt_tokens": 9, "new_tokens": 8}
    endless = {**said, "text": "", "error": "its thought did not end within 8 tokens"}
    found = own_asked(Path("prompts.jsonl"), said, endless, {**said, "stopped": True})
    assert (found["summary"]["errors"], found["summary"]["cut"]) == (1, 1)
    write(layout.ASKED, found, **THERE, task="own")
    [theirs] = (row for row in small.rows(**STUDY) if row["runtime"] == "server")
    own = theirs["quality"]["own"]
    assert own["thoughts_cut_pct"] == pytest.approx(100 / 3)
    assert own["thought_tokens"] is None


def test_who_does_not_count_a_prompt_has_no_cost_of_an_answer(measured: AbAsked) -> None:
    silent = [{**one, "prompt_tokens": 0} for one in measured["answers"]]
    write(layout.ASKED, {**measured, "answers": silent}, **THERE, task="own")
    [theirs] = (row for row in small.rows(**STUDY) if row["runtime"] == "server")
    assert "own" not in theirs["answers"]
    assert theirs["quality"]["own"]["passed_pct"] == 50


def test_another_file_of_prompts_is_not_held_against(measured: AbAsked) -> None:
    write(layout.ASKED, {**measured, "prompts_sha256": "0" * 64}, **THERE, task="own")
    [score] = small.summary(**STUDY)[0]["over_http"][0]["scores"]
    assert (score["pct"], score["against_pct"], score["difference_pct"]) == (50, None, None)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["own own prompts passed, %", "answers are not held to a form", "as claimed"]),
        ("ja", ["独自のプロンプトの合格率", "書式に従わせますが", "全トークンの尤度"]),
    ],
)
def test_the_page_has_them_and_says_what_was_not_asked(
    tmp_path: Path, language: str, said: list[str]
) -> None:
    summary, requirements = small.summary(**STUDY, languages=[language])
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(summary, chosen, tmp_path / "index.html")
    text = Page((tmp_path / "index.html").read_text(encoding="utf-8")).text
    for words in said:
        assert words in text
    if language == "en":
        assert "workstation m F16 held" in text
        assert "pi m F16, server held" in text or "pi m F16 server held" in text


# --- pairs ----------------------------------------------------------------------------------------

PAIRED = ("m/F16", "pi/m/F16/server")


def with_pair(a: str, b: str, **more: Any) -> Study:
    own = {"task": "ab", "prompts": "prompts.jsonl", "pairs": [[a, b]], **more.pop("own", {})}
    return small.study(runtimes=RUNTIMES, quality={**QA, "own": own}, **more)


def test_a_pair_may_name_what_an_endpoint_answers() -> None:
    study = with_pair(*PAIRED)
    [pair] = inputs.all_pairs(study)
    assert pair == "m,F16,vs,pi,m,F16,server"
    assert inputs.pair(study, "own", pair) == [
        "results/quality/s/m/F16/f16/own.json",
        "results/asked/s/pi/m/F16/server/own.json",
    ]
    assert settings.pair(study, "own", pair)["names"] == [*PAIRED]


PARTS = ("a", "b", "c", "vs", "a-b", "b-c", "a-vs-b", "vs-b", "a-vs")
QUANT = st.sampled_from(["F16", "Q4_0-qat", "MIX-12tps-vs-b", "as-published.a--vs--b"])
SLUGS = st.sampled_from(PARTS)
NAMED = st.tuples(SLUGS, QUANT) | st.tuples(SLUGS, SLUGS, QUANT, SLUGS)


@given(st.lists(st.tuples(NAMED, NAMED), unique=True, max_size=40))
def test_no_two_pairs_have_one_name(pairs: list[Any]) -> None:
    """`a-b` and `c` are not `a` and `b-c`."""
    named = [("/".join(a), "/".join(b)) for a, b in pairs]
    task = AbTask(task="ab", prompts="prompts.jsonl", pairs=named)
    assert [*task.compared({}).values()] == pairs


@pytest.mark.parametrize(
    ("named", "more", "why"),
    [
        ("pi/m/F16/default", {}, "no answers of an endpoint"),
        ("pi/m/Q4_0/server", {}, "no answers of an endpoint"),
        ("m/F16/server", {}, "no variant"),
        ("m", {}, "no variant"),
        ("pi/m/F16/server", {"scored_with": "default"}, "scored_with"),
        ("pi/m/F16/server", {"own": {"grammar": True}}, "grammar"),
    ],
)
def test_what_no_endpoint_answers_is_in_no_pair(named: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        with_pair("m/F16", named, **more)


def test_people_judge_it_blindly(tmp_path: Path) -> None:
    """The sheet tells neither engine nor device, nor why there is no answer."""
    path = own_prompts(tmp_path, PROMPTS)
    said = {"stopped": True, "prompt_tokens": 9, "new_tokens": 2}
    asked = own_asked(path, {**said, "text": "ja “好” \u202e"}, {"error": "500: Ollama"}, said)
    ours: Any = made.answered(None)
    texts = ["yes", "no", " \n"]
    ours["answers"] = [{**asked["answers"][0], "text": text} for text in texts]
    sheet = tmp_path / "sheet.html"
    found, key = compare_pair(PAIRED, (ours, asked), path, seed=0, judgements=[], sheet=sheet)
    assert key and found["status"] == "ok"
    assert (found["b"], found["prompts"][1]["b"]["passed"]) == (PAIRED[1], False)
    assert {i: one["left"] is None for i, one in key["prompts"].items()} == {
        "one": False,
        "two": False,
        "three": True,
    }
    shown = sheet.read_text(encoding="utf-8")
    assert "好" in shown
    for hidden in ("pi/m", "server", "Ollama"):
        assert hidden not in shown.partition("<main>")[2].partition("<script>")[0]


def test_a_pair_of_what_was_not_asked_says_why(tmp_path: Path) -> None:
    path = own_prompts(tmp_path, PROMPTS)
    ours: Any = {**made.answered(None), "answers": []}
    asked = (ours, failed("quality", "prompts with tools are not asked over HTTP"))
    sheet = tmp_path / "sheet.html"
    found, key = compare_pair(PAIRED, asked, path, seed=0, judgements=[], sheet=sheet)
    assert found["status"] == "failed" and key is None
    assert found["reason"] == "pi/m/F16/server: prompts with tools are not asked over HTTP"


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("language", "said"), [("en", "A name of four parts"), ("ja", "四つの")])
def test_the_page_says_that_such_a_pair_is_of_engines(
    tmp_path: Path, language: str, said: str
) -> None:
    own_prompts(tmp_path, PROMPTS)
    ours: Any = made.answered(None)
    ours["answers"] = own_asked(tmp_path / "prompts.jsonl", *[{"text": "x"}] * 3)["answers"]
    found, _ = compare_pair(
        PAIRED,
        (ours, ours),
        tmp_path / "prompts.jsonl",
        seed=0,
        judgements=[],
        sheet=tmp_path / "sheet.html",
    )
    study = with_pair(*PAIRED, languages=[language])
    write(layout.AB, found, study="s", task="own", pair=inputs.all_pairs(study)[0])
    summary, requirements = small.summary(**study.model_dump(mode="json", exclude_unset=True))
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(summary, chosen, tmp_path / "index.html")
    text = Page((tmp_path / "index.html").read_text(encoding="utf-8")).text
    assert said in text and "B pi/m/F16/server" in text
