"""Prompt lookup and draft models beside greedy decoding: what was accepted, what it gained, whether
the text is the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict

from llmpi.engine.records import Draft, PromptLookup, Repetition, SessionRecord, SingleCell
from llmpi.results import NotRun
from llmpi.study.runs import Run, draft_of
from llmpi.study.runs import Session as SessionId
from llmpi.study.study import Study
from llmpi.summary.greedy import twin_of
from llmpi.summary.measured import Single, single
from llmpi.summary.records import Row, SpeculationAgainst, SpeculationCell, SpeculationKind
from llmpi.summary.row import place


@dataclass(frozen=True)
class Beside:
    """A measured cell with its row."""

    row: Row
    cell: SingleCell


def speculation(
    study: Study, sessions: Mapping[SessionId, SessionRecord | NotRun], rows: Mapping[Run, Row]
) -> list[SpeculationCell]:
    """The measured cells of runtimes that draft tokens, whose workload samples."""
    measured = {
        run: Beside(row, found.cell)
        for run, row in rows.items()
        if isinstance(found := single(sessions[run.session], run.workload), Single)
    }
    cells = []
    for run, own in measured.items():
        if not study.runtimes[run.runtime].speculation or "drafted" not in _first(own):
            continue
        twin = twin_of(study, run.runtime)
        other = measured.get(run._replace(runtime=twin)) if twin else None
        cells.append(_cell(study, run, own, other))
    return cells


def _first(own: Beside) -> Repetition:
    return own.cell["repetitions"][0]


def _cell(study: Study, run: Run, own: Beside, other: Beside | None) -> SpeculationCell:
    done, row = own.cell["repetitions"], own.row
    steps, drafted, accepted = (
        sum(r.get("steps", 0) for r in done),
        sum(r.get("drafted", 0) for r in done),
        sum(r.get("accepted", 0) for r in done),
    )
    return {
        **place(run),
        **_how(study, run),
        "prompt": own.cell["workload"]["prompt"],
        "ttft_s": row["ttft_s"],
        "tg_tps": row["tg_tps"],
        "tpj_board": row["tpj_board"],
        "memory_bytes": row["memory_bytes"],
        "accepted_pct": 100 * accepted / drafted if drafted else None,
        "tokens_per_step": (steps + accepted) / steps,
        "tokens": min(len(one.cell["output"]) for one in (own, other) if one),
        **_against(own, other),
    }


class _How(TypedDict):
    kind: SpeculationKind
    settings: PromptLookup | Draft


def _how(study: Study, run: Run) -> _How:
    runtime = study.runtimes[run.runtime]
    if runtime.draft and (draft := draft_of(study, run.session)):
        return {
            "kind": "draft model",
            "settings": {
                "model": draft.model,
                "quant": draft.quant,
                "draft_tokens": runtime.draft.draft_tokens,
            },
        }
    asked = runtime.prompt_lookup
    assert asked
    return {
        "kind": "prompt lookup",
        "settings": {"ngram": asked.ngram, "draft_tokens": asked.draft_tokens},
    }


def _against(own: Beside, other: Beside | None) -> SpeculationAgainst:
    if other is None:
        return {
            "against": None,
            "against_ttft_s": None,
            "against_tg_tps": None,
            "against_tpj_board": None,
            "against_memory_bytes": None,
            "speedup": None,
            "same_tokens": None,
        }
    faster, plain = own.row["tg_tps"], other.row["tg_tps"]
    return {
        "against": other.row["runtime"],
        "against_ttft_s": other.row["ttft_s"],
        "against_tg_tps": plain,
        "against_tpj_board": other.row["tpj_board"],
        "against_memory_bytes": other.row["memory_bytes"],
        "speedup": faster / plain if faster and plain else None,
        "same_tokens": _common(own.cell["output"], other.cell["output"]),
    }


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens both begin with."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))
