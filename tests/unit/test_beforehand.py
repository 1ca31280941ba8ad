"""What questions can tell is promised before anything is measured, and the promise is kept."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from made_study import study

from llmpi.decide.beforehand import CHANGED, USUAL, Ahead, ahead
from llmpi.decide.joint import Analysis
from llmpi.quality.evidence import Requirement, ScoredItem, evidence_of
from llmpi.study.runs import Scored
from llmpi.study.study import Study

ROOT = Path(__file__).parents[2]
F16, Q4_0 = Scored("m", "F16"), Scored("m", "Q4_0")


def prompts(folder: Path, count: int, tags: dict[int, str] | None = None) -> Study:
    """Two variants and so many own prompts."""
    path = folder / f"{count}.jsonl"
    lines = [
        {"prompt": f"{i}?", "expect": {"reference": "x"}, "tags": [tag] if tag else []}
        for i in range(count)
        for tag in [(tags or {}).get(i)]
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return study(quality={"own": {"task": "ab", "prompts": str(path)}}, quants=["F16", "Q4_0"])


@cache
def of_sixty(folder: Path) -> Ahead:
    [found] = ahead(prompts(folder, 60))
    return found


@pytest.fixture
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Ahead:
    return of_sixty(tmp_path_factory.getbasetemp())


def verdict(changed: float, count: int, margin: float, seed: int) -> str:
    """Of a study in which each answer changes with that probability, as often for the better."""
    rng = np.random.default_rng(seed)
    drawn = rng.random(count)
    right = np.where(drawn < changed / 2, 1.0, 0.0)
    other = np.where(drawn > 1 - changed / 2, 1.0, 0.0)
    names = [f"p{i}" for i in range(count)]
    items = {
        variant: [ScoredItem(n, n, float(s)) for n, s in zip(names, scores, strict=True)]
        for variant, scores in {F16: right, Q4_0: other}.items()
    }
    asked: Requirement = {
        "task": "own",
        "metric": "passed",
        "tag": None,
        "margin": margin,
        "kind": "loss",
        "cluster": "prompt",
        "clusters": names,
        "asked": count,
        "variants": evidence_of(items, {"m": ["F16", "Q4_0"]}, names),
    }
    found = Analysis([asked]).standing(Q4_0)
    assert found
    return found["verdict"]


def test_what_changes_nothing_is_shown_with_as_many_as_promised(sixty: Ahead) -> None:
    needed = sixty.needed[0.0]
    assert needed
    assert verdict(0.0, needed, 5, seed=0) == "holds"
    assert verdict(0.0, round(0.9 * needed), 5, seed=0) == "undecided"


@pytest.mark.parametrize("changed", CHANGED[1:])
def test_the_promise_is_kept_four_times_in_five(changed: float, sixty: Ahead) -> None:
    needed = sixty.needed[changed]
    assert needed
    told = [verdict(changed, needed, 5, seed) != "undecided" for seed in range(120)]
    assert 0.65 <= sum(told) / len(told) <= 0.95


def test_so_is_the_margin_that_is_told(sixty: Ahead) -> None:
    assert sixty.margin_told
    told = [verdict(USUAL, 60, sixty.margin_told, seed) != "undecided" for seed in range(120)]
    assert 0.6 <= sum(told) / len(told) <= 0.95


def test_more_change_a_narrower_margin_and_more_variants_need_more(
    tmp_path: Path, sixty: Ahead
) -> None:
    needed = [sixty.needed[changed] or 0 for changed in CHANGED]
    assert needed == sorted(needed)
    asked = prompts(tmp_path, 60)
    own = asked.quality["own"]
    narrow = own.model_copy(update={"passed_drop_at_most": 2})
    [narrower] = ahead(asked.model_copy(update={"quality": {"own": narrow}}))
    more = ["F16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0"]
    [several] = ahead(study(quality={"own": own.model_dump()}, quants=more))
    for other in (narrower, several):
        assert (other.needed[USUAL] or 0) > (sixty.needed[USUAL] or 0)


def test_every_requirement_is_told_by_itself(tmp_path: Path) -> None:
    every, safe = ahead(prompts(tmp_path, 30, dict.fromkeys(range(12), "safety")))
    assert [(one.metric, one.items, one.margin) for one in (every, safe)] == [
        ("passed", 30, 5),
        ("passed safety", 12, 2),
    ]


def test_questions_are_counted_by_their_passages() -> None:
    file = str(ROOT / "config/data/field_qa.json")
    asked = study(quality={"field": {"task": "squad", "squad_file": file}}, quants=["F16", "Q4_0"])
    with_answer, without = ahead(asked)
    assert (with_answer.metric, with_answer.items, with_answer.clusters) == ("has_ans_f1", 83, 16)
    assert (without.metric, without.items, without.cluster) == ("no_ans", 42, "passage")
    assert (with_answer.needed[0.0] or 0) > 60, "five of a passage tell less than five prompts"


def test_few_clusters_can_tell_nothing(tmp_path: Path) -> None:
    [found] = ahead(prompts(tmp_path, 9))
    assert found.margin_told is None


@pytest.mark.parametrize(
    "task",
    [
        {"task": "squad", "hub": "rajpurkar/squad_v2", "questions": 100},
        {"task": "lm_eval", "tasks": ["arc_easy"]},
        {"task": "ab", "prompts": "p.jsonl", "passed_drop_at_most": None},
    ],
    ids=lambda task: task["task"],
)
def test_nothing_is_said_of_what_is_not_known_or_not_asked(
    task: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.jsonl").write_text('{"prompt": "?", "expect": {"reference": "x"}}\n')
    assert ahead(study(quality={"qa": task})) == []


def test_a_model_that_is_left_out_is_no_reference(tmp_path: Path) -> None:
    own = prompts(tmp_path, 60).quality["own"].model_dump()
    models = {name: {"source": {"path": f"{name}.gguf"}} for name in ("m", "other")}
    left_out = [{"model": "other"}]
    found = study(quality={"own": own}, quants=["F16", "Q4_0"], models=models, exclude=left_out)
    assert ahead(found) == ahead(prompts(tmp_path, 60))


def test_nothing_is_said_where_nothing_is_held_against_another(tmp_path: Path) -> None:
    own = prompts(tmp_path, 60).quality["own"].model_dump()
    assert ahead(study(quality={"own": own}, quants=["F16"])) == []
