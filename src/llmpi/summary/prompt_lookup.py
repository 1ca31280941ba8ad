"""Prompt lookup beside greedy decoding: what was accepted, what it gained, whether the text is the
same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmpi.engine.records import SessionRecord, SingleCell
from llmpi.results import NotRun
from llmpi.study.measuring import PromptLookup
from llmpi.study.runs import Run
from llmpi.study.runs import Session as SessionId
from llmpi.study.study import Study
from llmpi.summary.greedy import twin_of
from llmpi.summary.measured import Single, single
from llmpi.summary.records import LookupAgainst, LookupCell, Row
from llmpi.summary.row import place


@dataclass(frozen=True)
class Beside:
    """A measured cell with its row."""

    row: Row
    cell: SingleCell


def prompt_lookup(
    study: Study, sessions: Mapping[SessionId, SessionRecord | NotRun], rows: Mapping[Run, Row]
) -> list[LookupCell]:
    """The measured cells of runtimes with prompt lookup, whose workload samples."""
    measured = {
        run: Beside(row, found.cell)
        for run, row in rows.items()
        if isinstance(found := single(sessions[run.session], run.workload), Single)
    }
    cells = []
    for run, own in measured.items():
        asked = study.runtimes[run.runtime].prompt_lookup
        if asked is None or "drafted" not in own.cell["repetitions"][0]:
            continue
        twin = twin_of(study, run.runtime)
        other = measured.get(run._replace(runtime=twin)) if twin else None
        cells.append(_cell(run, asked, own, other))
    return cells


def _cell(run: Run, asked: PromptLookup, own: Beside, other: Beside | None) -> LookupCell:
    done = own.cell["repetitions"]
    steps, drafted, accepted = (
        sum(r.get("steps", 0) for r in done),
        sum(r.get("drafted", 0) for r in done),
        sum(r.get("accepted", 0) for r in done),
    )
    return {
        **place(run),
        "tg_tps": own.row["tg_tps"],
        "tpj_board": own.row["tpj_board"],
        "settings": {"ngram": asked.ngram, "draft_tokens": asked.draft_tokens},
        "accepted_pct": 100 * accepted / drafted if drafted else None,
        "tokens_per_step": (steps + accepted) / steps,
        "tokens": len(own.cell["output"]),
        **_against(own, other),
    }


def _against(own: Beside, other: Beside | None) -> LookupAgainst:
    if other is None:
        return {
            "against": None,
            "against_tg_tps": None,
            "against_tpj_board": None,
            "speedup": None,
            "same_tokens": None,
        }
    faster, plain = own.row["tg_tps"], other.row["tg_tps"]
    return {
        "against": other.row["runtime"],
        "against_tg_tps": plain,
        "against_tpj_board": other.row["tpj_board"],
        "speedup": faster / plain if faster and plain else None,
        "same_tokens": _common(own.cell["output"], other.cell["output"]),
    }


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens both begin with."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))
