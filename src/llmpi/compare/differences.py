"""What else was another one where two studies were measured: engine, system, settings."""

from collections.abc import Callable, Iterator, Mapping

from llmpi.compare.measured import Measured
from llmpi.compare.records import Difference
from llmpi.engine.records import Engine, Session


def differences(before: Measured, after: Measured) -> Iterator[Difference]:
    """What of a device's circumstances was another one, where both sides tell it."""
    old, new = _circumstances(before), _circumstances(after)
    for device, what in old:
        one, other = old[device, what], new.get((device, what))
        if other and one != other:
            yield {
                "device": device,
                "what": what,
                "before": ", ".join(sorted(one)),
                "after": ", ".join(sorted(other)),
            }


def _circumstances(study: Measured) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for session, record in study.sessions.items():
        if record["status"] == "ok":
            told = {what: tell(record) for what, tell in CIRCUMSTANCES.items()}
            settings = {name: str(value) for name, value in (record["settings"] or {}).items()}
            for what, value in {**told, **settings}.items():
                if value is not None:
                    found.setdefault((session.device, what), set()).add(value)
    return found


def _engine(tell: Callable[[Engine], str | None]) -> Callable[[Session], str | None]:
    """Of llmpi's own; an endpoint tells nothing of its engine."""

    def told(session: Session) -> str | None:
        engine = session["environment"]["engine"]
        return tell(engine) if engine else None

    return told


def _flags(engine: Engine) -> str | None:
    flags = engine["build_flags"]
    if flags is None:
        return None
    return "; ".join(f"{name}={value}" for name, value in sorted(flags.items()) if value)


CIRCUMSTANCES: Mapping[str, Callable[[Session], str | None]] = {
    "engine": _engine(lambda engine: engine["version"]),
    "llama.cpp": _engine(lambda engine: engine["llama_cpp_commit"]),
    "build": _engine(_flags),
    "processor features in use": _engine(lambda engine: " ".join(engine["features"])),
    "board": lambda s: s["environment"]["machine"]["board"],
    "processor": lambda s: s["environment"]["machine"]["cpu"],
    "kernel": lambda s: s["environment"]["machine"]["kernel"],
    "system": lambda s: s["environment"]["machine"]["os"],
    "governor": lambda s: s["environment"]["before"]["governor"],
}
"""What makes one session's figures another's, by what a person calls it; beside its settings."""
