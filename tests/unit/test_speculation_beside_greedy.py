"""Drafted tokens in the summary: beside the same cell without them."""

from typing import Any

import made_records as made
import pytest

from llmpi.engine.records import SessionRecord
from llmpi.study.runs import Run, Session
from llmpi.study.study import Study
from llmpi.summary.records import Row, SpeculationCell
from llmpi.summary.sound import sound
from llmpi.summary.speculation import speculation


def study() -> Study:
    return Study.model_validate(
        {
            "study": "s",
            "models": {"m": {"source": {"path": "m.gguf"}}},
            "quants": ["Q4_0", "Q2_K"],
            "devices": {"pi": {"transport": "local"}},
            "workloads": {"copy": {"prompt_tokens": 128, "output_tokens": 3}},
            "runtimes": {
                "lean": {"threads": 1, "kv_cache": "q8_0"},
                "default": {"kv_cache": "q8_0"},
                "quick": {"kv_cache": "q8_0", "prompt_lookup": {"ngram": 2}},
                "quick-lean": {"threads": 2, "kv_cache": "q8_0", "prompt_lookup": {}},
                "quick-small": {"kv_cache": "q8_0", "draft": {"quant": "Q2_K"}},
            },
        }
    )


def drafted(
    speeds: dict[str, float], died: str = "", outputs: dict[str, list[int]] | None = None
) -> list[SpeculationCell]:
    """
    Args:
        speeds: of each runtime that was measured.
        died: a runtime whose session did.
        outputs: of runtimes, other tokens than usual.
    """
    sessions: dict[Session, SessionRecord] = {}
    rows: dict[Run, Row] = {}
    for runtime, tps in speeds.items():
        run = Run("pi", "m", "Q4_0", runtime, "copy")
        own = session(runtime, (outputs or {}).get(runtime))
        sessions[run.session] = made.failed("gone") if runtime == died else own
        rows[run] = {**made.row("pi", "Q4_0", tps), "runtime": runtime, "tpj_board": tps / 8}
    return speculation(study(), sessions, rows)


def session(runtime: str, output: list[int] | None = None) -> SessionRecord:
    done = made.repetition(1.0, [0.1, 0.0, 0.1])
    if "quick" in runtime:
        done = {**done, "steps": 2, "drafted": 4, "accepted": 1}
    output = output or ([5, 6, 7, 9] if runtime == "default" else [5, 6, 7, 8])
    return made.session({"copy": {**made.cell([done, done]), "output": output}})


def test_each_runtime_stands_beside_its_twin_without_lookup() -> None:
    quick, lean = drafted({"lean": 5, "default": 10, "quick": 15, "quick-lean": 9})
    assert (quick["runtime"], quick["against"], quick["speedup"]) == ("quick", "default", 1.5)
    assert (quick["accepted_pct"], quick["tokens_per_step"]) == (25, 1.5)
    assert (quick["same_tokens"], quick["tokens"]) == (3, 4)
    assert (quick["tpj_board"], quick["against_tpj_board"]) == (15 / 8, 10 / 8)
    assert (quick["kind"], quick["settings"]) == ("prompt lookup", {"ngram": 2, "draft_tokens": 3})
    assert (lean["runtime"], lean["against"], lean["speedup"]) == ("quick-lean", None, None)


def test_a_draft_model_stands_beside_the_same_twin() -> None:
    [quick] = drafted({"default": 10, "quick-small": 12})
    assert (quick["kind"], quick["against"], quick["speedup"]) == ("draft model", "default", 1.2)
    assert quick["settings"] == {"model": "m", "quant": "Q2_K", "draft_tokens": 4}
    assert quick["prompt"] == "random"


def test_a_twin_with_time_for_fewer_tokens_says_no_other_text() -> None:
    """It was too slow for all of them: as far as both go, they say the same."""
    [quick] = drafted({"default": 10, "quick": 15}, outputs={"default": [5, 6]})
    assert (quick["same_tokens"], quick["tokens"]) == (2, 2)


@pytest.mark.parametrize(
    "counts",
    [
        {"steps": 0, "drafted": 4, "accepted": 3},
        {"steps": -1, "drafted": 4, "accepted": 4},
        {"steps": 2, "drafted": 0, "accepted": 1},
        {"steps": 4, "drafted": 4, "accepted": -1},
        {"steps": 2, "drafted": 10**400, "accepted": 1},
        {"steps": 1, "drafted": 4, "accepted": 1},
        {"drafted": 4},
    ],
)
def test_steps_and_drafts_that_cannot_be(counts: dict[str, int]) -> None:
    """No number is made of them, nor does the report die of them."""
    done: Any = {**made.repetition(1.0, [0.1, 0.0, 0.1]), **counts}
    record = sound(made.session({"copy": made.cell([done])}), "a.json")
    failed = record["workloads"]["copy"]  # type: ignore[typeddict-item]
    assert failed["status"] == "failed"
    assert "the tokens drafted in them, cannot be" in failed["reason"]
    done |= {"steps": 2, "drafted": 2, "accepted": 1}
    record = sound(made.session({"copy": made.cell([done])}), "a.json")
    assert record["workloads"]["copy"]["status"] == "ok"  # type: ignore[typeddict-item]


def test_a_twin_that_failed_is_no_comparison() -> None:
    [quick] = drafted({"default": 10, "quick": 15}, died="default")
    assert (quick["against"], quick["same_tokens"]) == (None, None)
