"""Which scores are a cell's: those of what it computes, or none."""

from collections.abc import Mapping
from dataclasses import dataclass

from llmpi.engine.records import Failed
from llmpi.quality import kind
from llmpi.quality.answers import Answered
from llmpi.quality.kind import Objection, OverHttp
from llmpi.quality.kinds import task_kinds
from llmpi.results import NotRun
from llmpi.study.computation import computation_of, over_http
from llmpi.study.measuring import Drafting, Runtime
from llmpi.study.runs import Run, Scored
from llmpi.study.study import Study
from llmpi.study.task import NotOverHttp
from llmpi.summary.greedy import KIND_OF, says_the_same
from llmpi.summary.measured import Single
from llmpi.summary.records import Unscored
from llmpi.summary.tuned import Searches

SUFFIX: Mapping[Drafting, str] = {"prompt_lookup": "lookup", "draft": "draft"}

WHY: Mapping[Unscored, str] = {
    "default only": "the study scores llama.cpp's default only (scored_with)",
    "tuned": "the search ended there; a runtime that names these settings is scored",
    "prompt lookup": (
        "prompt lookup is not shown to say what the runtime that is the same without it says"
    ),
    "draft model": "a draft model is not shown to leave what the runtime without it says as it is",
    "over HTTP": "not scored: another engine answers there, and no question was asked of it",
}


NOT_ASKED: Mapping[NotOverHttp, str] = {
    "more than answers": (
        "not scored: this task wants more than the answers that an endpoint gives, such as how "
        "likely every token is"
    ),
    "form": (
        "not scored: an endpoint's answers are not held to a form, as this task's are (grammar)"
    ),
}


def why_not(computation: str, unscored: Unscored) -> str:
    """Why a cell has no score, in English."""
    if unscored == "over HTTP":
        return WHY[unscored]
    return f"not scored with this cache ({computation}): {WHY[unscored]}"


@dataclass(frozen=True)
class Computed:
    """What a cell computes, and what is known of its quality.

    Args:
        asked: whose scores are its own.
        unscored: why there are none.
    """

    asked: Scored
    unscored: Unscored | None
    quality: Mapping[str, kind.Row]
    answers: Mapping[str, Answered]
    objections: list[Objection]


def computed(
    study: Study,
    run: Run,
    cells: Mapping[Run, Single | Failed | NotRun],
    searches: Searches,
    rows: Mapping[str, Mapping[Scored, kind.Row]],
    answers: Mapping[str, Mapping[Scored, Answered]],
    objections: Mapping[Scored, list[Objection]],
    asked_over_http: Mapping[str, OverHttp],
) -> Computed:
    """
    Args:
        rows, answers: task -> what was scored -> its row, its answers.
        objections: the minimums that what was scored does not reach.
        asked_over_http: of an endpoint by task, where it was asked.
    """
    runtime = _ran_with(study, run, searches)
    if runtime.endpoint:
        return _of_endpoint(study, run, rows, asked_over_http)
    computation = computation_of(runtime)
    drafts = None if says_the_same(study, cells, run) else runtime.speculation
    asked = Scored(*run.variant, f"{computation}-{SUFFIX[drafts[0]]}" if drafts else computation)
    if all(asked in scored for scored in rows.values()):
        quality = {task: scored[asked] for task, scored in rows.items()}
        told = {task: found[asked] for task, found in answers.items() if asked in found}
        return Computed(asked, None, quality, told, objections.get(asked, []))
    unscored: Unscored = "tuned" if study.runtimes[run.runtime].tune else "default only"
    if drafts:
        unscored = KIND_OF[drafts[0]]
    return _unscored(study, asked, unscored, rows)


def _of_endpoint(
    study: Study,
    run: Run,
    rows: Mapping[str, Mapping[Scored, kind.Row]],
    told: Mapping[str, OverHttp],
) -> Computed:
    """Its own scores, of the tasks that it is asked."""
    asked = Scored(*run.variant, over_http(run.runtime))
    nothing = _unscored(study, asked, "over HTTP", rows)
    if not told:
        return nothing
    quality = {task: one.row for task, one in told.items()}
    for task in rows:
        if why := study.quality[task].not_over_http:
            quality[task] = _nothing(study, task, NOT_ASKED[why])
    answers = {task: one.answers for task, one in told.items() if one.answers}
    return Computed(
        asked,
        None,
        {**nothing.quality, **quality},
        answers,
        [why for one in told.values() for why in one.objections],
    )


def _unscored(
    study: Study,
    asked: Scored,
    unscored: Unscored,
    rows: Mapping[str, Mapping[Scored, kind.Row]],
) -> Computed:
    reason = why_not(asked.computation, unscored)
    return Computed(
        asked,
        unscored,
        {task: _nothing(study, task, reason) for task in rows},
        {},
        [
            {
                "task": gate.task,
                "metric": gate.metric,
                "at_least_pct": gate.at_least_pct,
                "got_pct": None,
                "why": "not scored",
            }
            for gate in study.gates
        ],
    )


def _ran_with(study: Study, run: Run, searches: Searches) -> Runtime:
    """The settings of a runtime; of one that is tuned those that were found."""
    search = searches.get(run.session)
    if search is None or search["status"] != "ok":
        return study.runtimes[run.runtime]
    return Runtime.model_validate(search["runtime"])


def _nothing(study: Study, task: str, reason: str) -> kind.Row:
    known = task_kinds()[study.quality[task].task]
    record: NotRun = {"status": "not run", "stage": None, "reason": reason}
    return kind.no_score(record, {**known.columns, **known.compared})
