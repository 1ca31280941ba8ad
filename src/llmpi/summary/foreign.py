"""Stand-ins for types that other rooms are about to define."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.summary.records import (
    Agreement,
    Finalist,
    Gain,
    MetricGain,
    PeakRss,
    Trial,
)

LOOSE = {"extra": "ignore", "allow_inf_nan": False, "strict": True}


class Parity(TypedDict):
    status: Literal["ok"]
    reason: str | None
    top1_pct: float | None
    kl_nats: float | None


class Search(TypedDict):
    status: Literal["ok"]
    tuned: bool
    words: str
    gain: Gain | None
    metrics: list[MetricGain]
    confidence_pct: float
    confirm_blocks: int
    changes_output: bool
    agreement: Agreement | None
    peak_rss_bytes: PeakRss
    finalists: list[Finalist]
    stopped: str
    remaining_pct: float | None
    noise_pct: float | None
    trials: list[Trial]
    took_s: float


for _kind in (Parity, Search):
    setattr(_kind, "__pydantic_config__", LOOSE)  # noqa: B010
