"""Numbers of conversations side by side that were not measured, as their level says it."""

from llmpi.engine.records import LostLevel


def lost(count: int, reason: str) -> LostLevel:
    """So many conversations that failed."""
    return {"conversations": count, "status": "failed", "reason": reason}


def not_tried(count: int) -> LostLevel:
    """So many conversations, where fewer failed."""
    reason = "a smaller number of conversations failed"
    return {"conversations": count, "status": "skipped", "reason": reason}
