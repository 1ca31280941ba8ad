"""Prompt lookup in the summary: beside the same cell without it."""

import made_records as made

from llmpi.engine.records import SessionRecord
from llmpi.study.runs import Run, Session
from llmpi.study.study import Study
from llmpi.summary.prompt_lookup import prompt_lookup
from llmpi.summary.records import LookupCell, Row


def study() -> Study:
    return Study.model_validate(
        {
            "study": "s",
            "models": {"m": {"source": {"path": "m.gguf"}}},
            "quants": ["Q4_0"],
            "devices": {"pi": {"transport": "local"}},
            "workloads": {"copy": {"prompt_tokens": 128, "output_tokens": 3}},
            "runtimes": {
                "lean": {"threads": 1, "kv_cache": "q8_0"},
                "default": {"kv_cache": "q8_0"},
                "quick": {"kv_cache": "q8_0", "prompt_lookup": {"ngram": 2}},
                "quick-lean": {"threads": 2, "kv_cache": "q8_0", "prompt_lookup": {}},
            },
        }
    )


def looked_up(speeds: dict[str, float], died: str = "") -> list[LookupCell]:
    """
    Args:
        speeds: of each runtime that was measured.
        died: a runtime whose session did.
    """
    sessions: dict[Session, SessionRecord] = {}
    rows: dict[Run, Row] = {}
    for runtime, tps in speeds.items():
        run = Run("pi", "m", "Q4_0", runtime, "copy")
        sessions[run.session] = made.failed("gone") if runtime == died else session(runtime)
        rows[run] = {**made.row("pi", "Q4_0", tps), "runtime": runtime, "tpj_board": tps / 8}
    return prompt_lookup(study(), sessions, rows)


def session(runtime: str) -> SessionRecord:
    done = made.repetition(1.0, [0.1, 0.0, 0.1])
    if "quick" in runtime:
        done = {**done, "steps": 2, "drafted": 4, "accepted": 1}
    output = [5, 6, 7, 9] if runtime == "default" else [5, 6, 7, 8]
    return made.session({"copy": {**made.cell([done, done]), "output": output}})


def test_each_runtime_stands_beside_its_twin_without_lookup() -> None:
    quick, lean = looked_up({"lean": 5, "default": 10, "quick": 15, "quick-lean": 9})
    assert (quick["runtime"], quick["against"], quick["speedup"]) == ("quick", "default", 1.5)
    assert (quick["accepted_pct"], quick["tokens_per_step"]) == (25, 1.5)
    assert (quick["same_tokens"], quick["tokens"]) == (3, 4)
    assert (quick["tpj_board"], quick["against_tpj_board"]) == (15 / 8, 10 / 8)
    assert quick["settings"]["ngram"] == 2
    assert (lean["runtime"], lean["against"], lean["speedup"]) == ("quick-lean", None, None)


def test_a_twin_that_failed_is_no_comparison() -> None:
    [quick] = looked_up({"default": 10, "quick": 15}, died="default")
    assert (quick["against"], quick["same_tokens"]) == (None, None)
