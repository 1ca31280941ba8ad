"""What a study's file says of itself."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import record


@record
class CrateFile(TypedDict):
    """A file of the crate."""

    sha256: str
    bytes: int
    fields: dict[str, str] | None
    """Of a record: field, without the places in its lists, and the beginning of the SHA-256 of all
    its values, so that one that was changed is named; None of what is no JSON."""


@record
class NotHeld(TypedDict):
    """What a study rests on and its file does not hold."""

    what: Literal["model", "variant", "data"]
    name: str
    """As the config calls it; of a model with its file."""
    sha256: str | None
    """None where no record says it."""
    bytes: int | None
    source: str
    """Where it is from."""


@record
class Manifest(TypedDict):
    """A study as one file: what is in it, and what it was made with."""

    format: Literal[1]
    study: str
    redacted: bool
    """Whether hosts, users, paths, serial numbers and hardware addresses were taken out."""
    llmpi: str
    """Version that wrote the summary."""
    summarized: str
    """UTC, ISO 8601."""
    python: str
    packages: dict[str, str]
    """Versions of what the summary, the decision and the page are computed with."""
    files: dict[str, CrateFile]
    """By path; all but this one and `ro-crate-metadata.json`."""
    not_held: list[NotHeld]
