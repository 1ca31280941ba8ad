"""Runtimes that compute otherwise: the scores of what they compute."""

from pathlib import Path

import yaml
from support import ROOT, planned_jobs

QUANTS = ["F16", "Q4_0"]
PLAIN = {"default": {}, "slim": {"threads": 1}, "packed": {"repack": False}}
LEAN = {**PLAIN, "lean": {"kv_cache": "q8_0"}, "leaner": {"kv_cache": "q8_0", "threads": 1}}
SCORING = (
    *("evaluate_quality", "answer_shard", "merge_shards", "evaluate_divergence"),
    "answer_prompts",
)


def edited(workdir: Path, **changes: object) -> dict[str, int]:
    """Jobs of the demo's model with tasks of several kinds; two jobs share one of them."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    field = config["quality"]["field"]
    tasks = {
        "field": field,
        "shared": {**field, "shards": 2},
        "text": {"task": "divergence", "python_topics": True},
        "own": {"task": "ab", "prompts": "config/data/field_prompts.jsonl"},
    }
    mine = {**config, "quants": QUANTS, "quality": tasks, **changes}
    (workdir / "config/mine.yaml").write_text(yaml.safe_dump(mine))
    return planned_jobs("--configfile", "config/mine.yaml", cwd=workdir)


def test_runtimes_that_compute_the_same_share_a_score(workdir: Path) -> None:
    jobs = edited(workdir, runtimes=PLAIN)
    assert jobs["benchmark_device"] == 6
    assert [jobs[rule] for rule in SCORING] == [2, 4, 2, 2, 2]


def test_another_cache_is_one_more_score_a_variant_and_task(workdir: Path) -> None:
    jobs = edited(workdir, runtimes=LEAN)
    assert jobs["benchmark_device"] == 10
    assert [jobs[rule] for rule in SCORING] == [4, 8, 4, 4, 4]
    assert (jobs["score_reference"], jobs["compare_pair"]) == (1, 1)


def test_only_the_default_where_that_is_asked_for(workdir: Path) -> None:
    jobs = edited(workdir, runtimes=LEAN, scored_with="default")
    assert [jobs[rule] for rule in SCORING] == [2, 4, 2, 2, 2]


def test_beside_a_descent_the_other_cache_is_scored_too(workdir: Path) -> None:
    jobs = edited(workdir, runtimes=LEAN, descent={"task": "field", "margin_pct": 5})
    assert jobs["evaluate_quality"] == 4
