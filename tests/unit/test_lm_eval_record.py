"""What of the harness's results stands in a record, and what is said before it is started."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from llmpi.errors import LlmpiError
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.lm_eval.evaluate import Settings, evaluate_lm_eval
from llmpi.quality.lm_eval.model import describe_tasks, items_of, summarize
from llmpi.records import failed, write_json

SETTINGS: Settings = {
    "computation": BY_DEFAULT,
    "tasks": ["one"],
    "include_path": None,
    "limit": None,
    "num_fewshot": None,
    "apply_chat_template": False,
    "context_tokens": 1024,
}
SAMPLE = {
    "doc_id": 3,
    "doc_hash": "d",
    "prompt_hash": "p",
    "target_hash": "t",
    "filter": "none",
    "target": np.int64(1),
    "filtered_resps": [(np.float64(-1.5), np.bool_(True))],
    "metrics": ["acc", "ppl"],
    "acc": np.float32(1.0),
    "ppl": (-3.0, 2),
}
RESULTS = {
    "results": {
        "one": {
            "name": "one",
            "alias": "one",
            "sample_len": 4,
            "acc,none": np.float32(0.75),
            "acc_stderr,none": 0.25,
            "f1,strict": 0.5,
            "f1_stderr,strict": "N/A",
            "ppl,none": math.inf,
            "ppl_stderr,none": math.nan,
        },
        "group": {"alias": "group", "acc,none": 0.5, "acc_stderr,none": 0.1},
    },
    "higher_is_better": {"one": {"acc": True, "ppl": False}},
    "n-samples": {"one": {"original": 100, "effective": 4}},
    "versions": {"one": 2.0, "group": 1.0},
    "n-shot": {"one": 5},
    "configs": {"one": {"task": "one"}},
    "samples": {"one": [SAMPLE]},
}


def test_metrics_say_their_unit() -> None:
    metrics = summarize(RESULTS)["metrics"]
    assert metrics == {
        "one/acc,none": {"pct": 75.0, "stderr_pct": 25.0, "higher_is_better": True},
        "one/f1,strict": {"value": 0.5, "stderr": None, "higher_is_better": None},
        "one/ppl,none": {"value": None, "stderr": None, "higher_is_better": False},
        "group/acc,none": {"pct": 50.0, "stderr_pct": 10.0, "higher_is_better": None},
    }
    assert summarize(RESULTS)["items"] == 4


def test_tasks_and_items_are_plain_json(tmp_path: Path) -> None:
    tasks = describe_tasks(RESULTS)
    assert (tasks["one"]["version"], tasks["one"]["shots"], tasks["one"]["items"]) == (2.0, 5, 4)
    [item] = items_of(RESULTS)
    assert (item["task"], item["id"], item["target"]) == ("one", 3, 1)
    assert item["responses"] == [[-1.5, True]]
    assert item["metrics"] == {"acc": 1.0, "ppl": [-3.0, 2]}
    write_json(tmp_path / "record.json", {"tasks": tasks, "items": [item]})


def test_the_hash_of_what_was_asked_changes_with_it() -> None:
    other = {**RESULTS, "samples": {"one": [{**SAMPLE, "prompt_hash": "q"}]}}
    before, after = describe_tasks(RESULTS)["one"], describe_tasks(other)["one"]
    assert before["items_sha256"] != after["items_sha256"]
    assert before["config_sha256"] == after["config_sha256"]


def test_a_variant_that_is_not_there_is_passed_on() -> None:
    manifest = failed("quantize", "no such type")
    assert evaluate_lm_eval(Path("no.gguf"), manifest, SETTINGS, threads=1) == manifest


def test_without_the_harness_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LlmpiError, match="make lm-eval"):
        evaluate_lm_eval(Path("no.gguf"), {"status": "ok"}, SETTINGS, threads=1)


def test_the_folder_of_tasks_must_be_there(tmp_path: Path) -> None:
    settings: Settings = {**SETTINGS, "include_path": str(tmp_path / "tasks")}
    with pytest.raises(LlmpiError, match="is not a folder"):
        evaluate_lm_eval(Path("no.gguf"), {"status": "ok"}, settings, threads=1)
