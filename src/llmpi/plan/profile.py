"""What a device's own measurement shows it to be."""

from collections.abc import Mapping
from statistics import median

from llmpi.engine.records import Bandwidth, Conditions, Machine, SessionRecord
from llmpi.plan.presets import Profile


def profile_of(session: SessionRecord) -> Profile | None:
    """What was read on the device before a session; None if the record holds no bandwidths."""
    if session["status"] == "failed" or session["bandwidth"] is None:
        return None
    environment, limits = session["environment"], session["limits"]
    limit = limits and limits["memory"]
    return profile(environment["machine"], environment["before"], limit, session["bandwidth"])


def prompt_rates(session: SessionRecord, prompt_tokens: Mapping[str, int]) -> list[float]:
    """Tokens a second of the prompts of a session, a median for each workload.

    Args:
        prompt_tokens: of each workload that is looked at.
    """
    if session["status"] == "failed":
        return []
    found = []
    for name, cell in session["workloads"].items():
        if name in prompt_tokens and cell["status"] == "ok" and cell["kind"] == "single":
            found.append(median(prompt_tokens[name] / r["pp_s"] for r in cell["repetitions"]))
    return found


def profile(
    machine: Machine, now: Conditions, limit: int | None, bandwidth: Bandwidth
) -> Profile | None:
    """A machine in figures; None if it does not tell its memory.

    Args:
        limit: bytes of its memory that may be used.
    """
    whole, free = machine["memory_bytes"], now["memory_available_bytes"]
    if whole is None or free is None:
        return None
    memory = min(whole, limit or whole)
    return Profile(memory, min(free, memory), **bandwidth)
