"""What a descent found, computed by default: for each model the lowest width that holds, and where
it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmpi.quality.kind import NotScored
from llmpi.quality.records import Obstacle
from llmpi.quality.squad.records import SquadScored, Verdict
from llmpi.quant_types import QAT, type_of
from llmpi.study.runs import Scored


@dataclass(frozen=True)
class LowestWidth:
    """Of one model.

    Args:
        ended_at: the first that does not hold; None if all do.
        train: what is to be trained there, if it is not among the quantizations.
        steps: the verdict on each that was tried, from wide to narrow.
        skipped: why the others were not.
    """

    model: str
    widest: str
    lowest: str
    ended_at: str | None
    train: str | None
    steps: Mapping[str, Verdict]
    skipped: Mapping[str, Sequence[Obstacle]]


def lowest_widths(
    order: Mapping[str, Sequence[str]], scores: Mapping[Scored, SquadScored | NotScored]
) -> list[LowestWidth]:
    """Of each model that has variants.

    Args:
        order: model -> its quantizations from the widest to the narrowest.
        scores: of the task of the descent.
    """
    return [_of_model(model, *quants, scores=scores) for model, quants in order.items() if quants]


def _of_model(
    model: str,
    widest: str,
    *narrower: str,
    scores: Mapping[Scored, SquadScored | NotScored],
) -> LowestWidth:
    records = {quant: scores[Scored(model, quant)] for quant in narrower}
    steps = {
        quant: verdict
        for quant, record in records.items()
        if record["status"] == "ok" and (verdict := record["descent"])
    }
    holds = [quant for quant, verdict in steps.items() if verdict["decision"] == "holds"]
    kept = {type_of(quant) for quant in holds}  # one variant that holds is enough to go on below it
    ended = next((quant for quant in steps if type_of(quant) not in kept), None)
    trained = type_of(ended) + QAT if ended else None
    return LowestWidth(
        model=model,
        widest=widest,
        lowest=holds[-1] if holds else widest,
        ended_at=ended,
        train=None if trained in records else trained,
        steps=steps,
        skipped={q: r["obstacles"] for q, r in records.items() if r["status"] == "skipped"},
    )
