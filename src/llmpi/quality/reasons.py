"""Why a variant has no score."""

from llmpi.engine.records import Failed
from llmpi.quality.records import Obstacle, Reason, Skipped
from llmpi.results import NotRun


def reason_of(record: Failed | Skipped | NotRun) -> Reason:
    return record["obstacles"] if record["status"] == "skipped" else record["reason"]


def reason_text(reason: Reason) -> str:
    """In English, as a field of a flat table has it."""
    return reason if isinstance(reason, str) else "; ".join(map(_obstacle_text, reason))


def _obstacle_text(obstacle: Obstacle) -> str:
    match obstacle["kind"]:
        case "fails":
            return f"{obstacle['variant']} fails at a margin of {obstacle['margin_pct']:g} points"
        case "undecided":
            at = f"at a margin of {obstacle['margin_pct']:g} points"
            return f"{obstacle['variant']} was not shown to hold {at}"
        case "wider not scored":
            why = obstacle["reason"]
            return f"{obstacle['variant']}, the next wider, was not scored: {why}"
        case "widest not scored":
            return f"the widest variant was not scored: {obstacle['reason']}"
