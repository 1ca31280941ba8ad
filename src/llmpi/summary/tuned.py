"""What searching for settings gave: tuned against default, with its interval."""

from collections.abc import Mapping

from llmpi.engine.records import Failed
from llmpi.results import NotRun
from llmpi.study.runs import Session
from llmpi.study.study import Study
from llmpi.summary.records import NotSearched, Searched, SessionKey
from llmpi.tune.records import Tuned
from llmpi.tune.weighed import weighed

Searches = Mapping[Session, Tuned | Failed | NotRun]


def output_agreement_pct(searches: Searches, session: Session) -> float | None:
    """How far a tuned session predicts the same tokens as the settings it was tuned from.

    Returns:
        Per cent of the positions of a fixed text; None where nothing was changed.
    """
    search = searches.get(session)
    if search is None or search["status"] != "ok" or search["agreement"] is None:
        return None
    return search["agreement"]["top1_pct"]


def tuned(study: Study, searches: Searches) -> list[Searched | NotSearched]:
    """Every search of the study, without its blocks."""
    return [_found(study, session, search) for session, search in searches.items()]


def _found(
    study: Study, session: Session, search: Tuned | Failed | NotRun
) -> Searched | NotSearched:
    objective = study.tune.objective
    where: SessionKey = {
        "device": session.device,
        "model": session.model,
        "quant": session.quant,
        "runtime": session.runtime,
    }
    if search["status"] != "ok":
        reason = search["reason"]
        return {**where, "status": search["status"], "reason": reason, "objective": objective}
    return {
        **where,
        "status": "ok",
        "reason": None,
        "objective": objective,
        "tuned": search["tuned"],
        "words": search["words"],
        "gain": search["gain"],
        "metrics": search["metrics"],
        "confidence_pct": search["confidence_pct"],
        "confirm_blocks": search["confirm_blocks"],
        "changes_output": search["changes_output"],
        "agreement": search["agreement"],
        "peak_rss_bytes": search["peak_rss_bytes"],
        "finalists": search["finalists"],
        "stopped": search["stopped"],
        "remaining_pct": search["remaining_pct"],
        "noise_pct": search["noise_pct"],
        "trials": search["trials"],
        "weighed": weighed(search["blocks"], search["trials"], study.tune.weights),
        "took_s": search["took_s"],
    }
