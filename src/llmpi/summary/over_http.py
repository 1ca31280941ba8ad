"""Cells of endpoints beside llmpi's own engine in process: what a client gets, what the server says
of itself, what lies between."""

from collections.abc import Mapping

from llmpi.engine.records import SessionRecord
from llmpi.quality.kind import AskedScore, OverHttp
from llmpi.results import NotRun
from llmpi.study.runs import Run
from llmpi.study.runs import Session as SessionId
from llmpi.study.study import Study
from llmpi.summary.measured import Single, single
from llmpi.summary.records import HttpAgainst, HttpCell, Row
from llmpi.summary.row import own_rate, place


def over_http(
    study: Study,
    sessions: Mapping[SessionId, SessionRecord | NotRun],
    rows: Mapping[Run, Row],
    asked: Mapping[SessionId, Mapping[str, OverHttp]],
) -> list[HttpCell]:
    """The measured cells of endpoints.

    Args:
        asked: what they answered to questions, by task.
    """
    cells = []
    for run, row in rows.items():
        found = single(sessions[run.session], run.workload)
        if isinstance(found, Single) and "endpoint" in found.how:
            answers = asked.get(run.session, {}).values()
            scores = [one.score for one in answers if one.score]
            cells.append(_cell(run, row, found, _in_process(study, run, rows), scores))
    return cells


def _cell(
    run: Run, row: Row, found: Single, other: Row | None, scores: list[AskedScore]
) -> HttpCell:
    endpoint = found.how["endpoint"]
    own_pp_tps, ttft_s = own_rate(found, "pp_tps"), row["ttft_s"]
    prompt_tokens = found.cell["workload"]["prompt_tokens"]
    waited_s = ttft_s - prompt_tokens / own_pp_tps if own_pp_tps and ttft_s else None
    return {
        **place(run),
        "endpoint": endpoint,
        "pp_tps": row["pp_tps"],
        "tg_tps": row["tg_tps"],
        "ttft_s": ttft_s,
        "own_pp_tps": own_pp_tps,
        "own_tg_tps": own_rate(found, "tg_tps"),
        "ttft_beyond_own_s": waited_s,
        "scores": scores,
        **_against(row, other),
    }


def _against(row: Row, other: Row | None) -> HttpAgainst:
    if other is None:
        return {
            "against": None,
            "against_pp_tps": None,
            "against_tg_tps": None,
            "against_ttft_s": None,
            "tg_less_pct": None,
            "ttft_more_s": None,
        }
    tg, plain_tg = row["tg_tps"], other["tg_tps"]
    ttft, plain_ttft = row["ttft_s"], other["ttft_s"]
    return {
        "against": other["runtime"],
        "against_pp_tps": other["pp_tps"],
        "against_tg_tps": plain_tg,
        "against_ttft_s": plain_ttft,
        "tg_less_pct": 100 * (1 - tg / plain_tg) if tg and plain_tg else None,
        "ttft_more_s": ttft - plain_ttft if ttft and plain_ttft else None,
    }


def _in_process(study: Study, run: Run, rows: Mapping[Run, Row]) -> Row | None:
    """The same cell of the first runtime of llmpi's engine that decodes token by token."""
    for name, runtime in study.runtimes.items():
        other = rows.get(run._replace(runtime=name))
        if not runtime.endpoint and not runtime.speculation and other and other["tg_tps"]:
            return other
    return None
