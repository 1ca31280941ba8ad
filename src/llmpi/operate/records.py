"""What a service is held to: what the study measured of the variant that it serves."""

from typing_extensions import TypedDict

from llmpi.device.monitor.records import Expected
from llmpi.engine.records import Engine, record


@record
class Reference(TypedDict):
    """What the limits were made of."""

    em_pct: float
    """Of the file's own answers to the questions, as is"""
    f1_pct: float
    pp_tps: float
    """Measured on the device: the medians of the workload's repetitions."""
    tg_tps: float
    engine: Engine
    """Of the workstation, which answered."""


@record
class Expectation(Expected):
    """`results/expectation/`: what a canary is to expect of a variant on a device."""

    study: str
    device: str
    model: str
    quant: str
    runtime: str
    workload: str
    """Whose speed it is held to."""
    gguf_sha256: str
    gguf_bytes: int
    made: str
    """UTC, ISO 8601."""
    reference: Reference


Json = dict[str, "Json"] | list["Json"] | str | float | bool | None
"""What Grafana and Prometheus read: formats of theirs, which their own tools check in the tests."""
