"""The user's own prompts, asked of an endpoint: what is held against what is expected, and where it
stands."""

import json
from pathlib import Path
from typing import Any

import made_records as made
import small_results as small
from made_http import RUNTIMES
from made_records import write
from small_results import CELL

from llmpi import layout
from llmpi.device.measure.questions import NOTHING
from llmpi.quality.ab.asked import not_to_be_asked, score_asked
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.ab.records import AbAsked
from llmpi.records import check
from llmpi.study.runs import asked_over_http

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
ASKED_WITH: Any = {"max_new_tokens": 8, "thinking_tokens": None}


def own_prompts(folder: Path, prompts: list[Any]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    return path


def own_asked(path: Path, *said: dict[str, object]) -> AbAsked:
    """What is scored of what was said, in two parts."""
    parts: Any = [
        {"status": "ok", "answers": answers, "on_device": True, "server": "s"}
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


CLAIMED = {"file": None, "type": None, "template": None}


def test_an_answer_that_failed_meets_nothing_and_is_counted(tmp_path: Path) -> None:
    path = own_prompts(tmp_path, PROMPTS)
    found = own_asked(path, {"text": "yes", "stopped": True}, {"error": "500"}, {"stopped": True})
    assert found["summary"] == {"items": 3, "judged": 2, "passed_pct": 50, "errors": 1}
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


def test_prompts_with_tools_have_no_score_and_say_so(tmp_path: Path) -> None:
    path = own_prompts(tmp_path, [*PROMPTS, {"prompt": "x", "tools": [{"name": "lamp"}]}])
    why = not_to_be_asked(load_prompts(path))
    assert why and "1 of 4 have some, 'line-4'" in why["reason"]
    assert not_to_be_asked(load_prompts(own_prompts(tmp_path, PROMPTS))) is None


def test_tasks_that_want_logits_or_a_form_are_not_asked(tmp_path: Path) -> None:
    own_prompts(tmp_path, PROMPTS)
    study = small.study(runtimes=RUNTIMES, quality={**QA, **OWN})
    assert [task for _, task in asked_over_http(study)] == ["qa", "own"]


def test_own_prompts_stand_beside_those_in_process(measured: None) -> None:
    path = own_prompts(Path(), PROMPTS)
    said = [{"text": t, "stopped": True, "prompt_tokens": 9, "new_tokens": 2} for t in "abc"]
    found = own_asked(path, *said)
    ours: Any = made.answered(None)
    outcomes = [{"id": i, "tags": [], "passed": True} for i in ("one", "two")]
    ours |= {"outcomes": outcomes, "prompts_sha256": found["prompts_sha256"]}
    ours["summary"] = {"items": 3, "judged": 2, "passed_pct": 100.0}
    write(layout.ASKED, found, **{**CELL, "runtime": "server"}, task="own")
    write(layout.QUALITY, ours, **CELL, task="own")
    study = {"runtimes": RUNTIMES, "quality": {**QA, **OWN}}
    summary, requirements = small.summary(**study)
    [cell] = summary["over_http"]
    [score] = cell["scores"]
    assert (score["pct"], score["against_pct"], score["difference_pct"]) == (50, 100, -50)
    [theirs] = (row for row in summary["rows"] if row["runtime"] == "server")
    assert theirs["quality"]["own"]["passed_pct"] == 50
    for task in ("held", "harness"):
        assert theirs["quality"][task]["status"] == "not run"
        assert "no question was asked" in str(theirs["quality"][task]["reason"])
    told = {one["computation"] for r in requirements["requirements"] for one in r["variants"]}
    assert "http-server" not in told, "nothing is decided by it"
