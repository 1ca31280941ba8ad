"""Whether what was scored on the workstation holds on a device, and whether it is enough."""

from collections.abc import Sequence

from llmpi.engine.records import Engine
from llmpi.quality.kind import Objection
from llmpi.quality.records import Parity
from llmpi.study.runs import Session, stands_for
from llmpi.study.study import Study
from llmpi.summary.read import Records
from llmpi.summary.records import ParityMiss, Transfer


def on_device(
    study: Study, session: Session, records: Records, objections: Sequence[Objection]
) -> Transfer:
    """Agreement with the workstation; a reason says that its scores are not transferred.

    On a local device the engine that is timed is the one that is scored. Of a group one board is
    checked, and speaks for those with its engine.
    """
    found = records.parities.get(session)
    told: Transfer = {
        "parity_top1_pct": None,
        "parity_kl_nats": None,
        "parity_reason": None,
        "gates_failed": list(objections),
        "parity_misses": [],
    }
    if found is None:
        return told
    board = stands_for(study, session.device, session.variant)
    other = None if found["reason"] else _other_engine(records, session.device, board)
    if found["status"] != "ok" or other:
        return {**told, "parity_reason": other or found["reason"]}
    return {
        **told,
        "parity_top1_pct": found["top1_pct"],
        "parity_kl_nats": found["kl_nats"],
        "parity_reason": found["reason"],
        "parity_misses": _misses(found),
    }


def _misses(found: Parity) -> list[ParityMiss]:
    """Generation has kernels of its own: they must not hide behind those of the prompt."""
    batched, single, top1_pct = (
        found["kl_batched_nats"],
        found["kl_single_nats"],
        found["top1_pct"],
    )
    most_nats, least_pct = found["tolerance"]["kl_nats"], found["tolerance"]["top1_pct"]
    misses: list[ParityMiss] = []
    if batched is None or single is None or top1_pct is None:
        return misses
    if (kl_nats := max(batched, single)) > most_nats:
        misses.append({"quantity": "kl_nats", "value": kl_nats, "limit": most_nats})
    if top1_pct < least_pct:
        misses.append({"quantity": "top1_pct", "value": top1_pct, "limit": least_pct})
    return misses


def _other_engine(records: Records, device: str, checked: str) -> str | None:
    """Why a board's parity does not speak for another one."""
    if device == checked or _engine(records, device) == _engine(records, checked):
        return None
    for name in (device, checked):
        if (machine := records.machines[name])["status"] != "ok":
            return f"the engine of {name} is not known: {machine['reason']}"
    return f"{device} has another engine than {checked}, which was checked"


def _engine(records: Records, device: str) -> Engine | None:
    """Version, build flags, processor features. Two builds of the same differ in their hash."""
    machine = records.machines[device]
    return {**machine["engine"], "library_sha256": ""} if machine["status"] == "ok" else None
