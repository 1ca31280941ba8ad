"""Stand-ins for types that other rooms are about to define."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.summary.records import (
    Agreement,
    Finalist,
    Gain,
    Hashed,
    MetricGain,
    PeakRss,
    Trial,
)

LOOSE = {"extra": "ignore", "allow_inf_nan": False, "strict": True}


class TensorsOfType(TypedDict):
    tensors: int
    bytes: int


class Fallback(TypedDict):
    tensor: str
    wanted: str
    got: str


class FileManifest(TypedDict):
    status: Literal["ok"]
    sha256: str
    bytes: int
    architecture: str
    parameters: int
    bits_per_weight: float
    tensors_by_type: dict[str, TensorsOfType]
    read_per_token_bytes: int
    fallbacks: list[Fallback]
    lineage: list[str]


class ModelManifest(TypedDict):
    status: Literal["ok"]
    origin: dict[str, str | bool | None]
    licence: str | None
    format: Literal["gguf", "safetensors"]
    files: dict[str, Hashed]
    fetched: str


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


for _kind in (FileManifest, ModelManifest, Parity, Search, TensorsOfType, Fallback):
    setattr(_kind, "__pydantic_config__", LOOSE)  # noqa: B010
