"""Prompt lookup beside greedy decoding: what was accepted, what it gained, whether the text is the
same."""

from collections.abc import Callable, Sequence
from typing import Any

from llmpi.records import Record, is_ok
from llmpi.study.measuring import PromptLookup
from llmpi.study.runs import Session
from llmpi.study.study import Study

Row = dict[str, Any]


def prompt_lookup(
    study: Study, records: Callable[[Session], Record], rows: Sequence[Row]
) -> list[Record]:
    """The measured cells of runtimes with prompt lookup, whose workload samples.

    Args:
        records: the record of a session.
        rows: see `llmpi.summary.study.row`.

    Returns:
        For each where it stands, its `settings`, `tg_tps`, `tpj_board`, `accepted_pct` (of the
        drafted tokens; None if none was), `tokens_per_step` (a decoding gives) and, where a
        runtime that differs in nothing else was measured too, `against`: its id, with
        `against_tg_tps`, `against_tpj_board`, `speedup` (of tg) and `same_tokens` of `tokens`: so
        far both say the same.
    """
    ok = {(Session(*(r[k] for k in Session._fields)), r["workload"]): r for r in rows if is_ok(r)}
    found = []
    for (session, workload), row in ok.items():
        asked = study.runtimes[session.runtime].prompt_lookup
        cell = records(session)["workloads"][workload] if asked else {}
        if asked is None or "drafted" not in cell["repetitions"][0]:
            continue
        twin = _twin(study, session.runtime)
        other = session._replace(runtime=twin) if twin else None
        beside = ok.get((other, workload)) if other else None
        output = records(other)["workloads"][workload]["output"] if other and beside else None
        found.append(_cell(row, asked, cell, beside, output))
    return found


def _twin(study: Study, runtime: str) -> str | None:
    """The runtime that is the same without prompt lookup."""
    plain = study.runtimes[runtime].model_copy(update={"prompt_lookup": None})
    return next((name for name, other in study.runtimes.items() if other == plain), None)


def _cell(
    row: Row, asked: PromptLookup, cell: Record, beside: Row | None, output: list[int] | None
) -> Record:
    steps, drafted, accepted = (
        sum(r[key] for r in cell["repetitions"]) for key in ("steps", "drafted", "accepted")
    )
    found: Record = {
        **{key: row[key] for key in (*Session._fields, "workload", "tg_tps", "tpj_board")},
        "settings": asked.model_dump(),
        "accepted_pct": 100 * accepted / drafted if drafted else None,
        "tokens_per_step": (steps + accepted) / steps,
        "tokens": len(cell["output"]),
        "against": beside and beside["runtime"],
    }
    if beside is None or output is None:
        return found | dict.fromkeys(
            ("against_tg_tps", "against_tpj_board", "speedup", "same_tokens")
        )
    return found | {
        "against_tg_tps": beside["tg_tps"],
        "against_tpj_board": beside["tpj_board"],
        "speedup": row["tg_tps"] / beside["tg_tps"],
        "same_tokens": _common(cell["output"], output),
    }


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens both begin with."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))
