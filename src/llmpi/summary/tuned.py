"""What searching for settings gave: tuned against default, with its interval."""

from collections.abc import Sequence
from pathlib import Path

from llmpi import layout
from llmpi.records import Record, is_ok, read_json
from llmpi.study.runs import Session, sessions
from llmpi.study.study import Study

OF_THE_SEARCH = (
    "tuned",
    "words",
    "gain",
    "metrics",
    "confidence_pct",
    "confirm_blocks",
    "changes_output",
    "agreement",
    "peak_rss_bytes",
    "finalists",
    "stopped",
    "remaining_pct",
    "noise_pct",
    "trials",
    "took_s",
)


def output_agreement_pct(searches: Sequence[Record], session: Session) -> float | None:
    """How far a tuned session predicts the same tokens as the settings it was tuned from.

    Args:
        searches: of `tuned`.

    Returns:
        Per cent of the positions of a fixed text; None where nothing was changed.
    """
    here = [s for s in searches if all(s[key] == at for key, at in session._asdict().items())]
    agreement = here[0].get("agreement") if here else None
    return agreement["top1_pct"] if agreement else None


def tuned(study: Study) -> list[Record]:
    """Every search of the study.

    Returns:
        For each: `device`, `model`, `quant`, `runtime`; `status` and `reason`; the `objective`; and
        of one that ended well what `llmpi.tune.search` says of it, without its blocks.
    """
    found = []
    for session in sessions(study):
        if study.runtimes[session.runtime].tune:
            path = Path(layout.at(layout.TUNED, study=study.study, **session._asdict()))
            record = read_json(path) if path.is_file() else {"status": "not run"}
            kept = {key: record[key] for key in OF_THE_SEARCH} if is_ok(record) else {}
            status = {"status": record["status"], "reason": record.get("reason")}
            objective = {"objective": study.tune.objective}
            found.append({**session._asdict(), **status, **objective, **kept})
    return found
