"""The files of a `divergence` task, and of the texts that calibrate and train."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from llmpi.engine.records import Engine, record
from llmpi.quality.records import Computation, Resampling

# --- the text -------------------------------------------------------------------------------------


@record
class PartOfText(TypedDict):
    """Which part of its source a text is; without, all of it."""

    from_pct: NotRequired[float]
    to_pct: NotRequired[float]


@record
class TextFile(PartOfText):
    text_file: str


@record
class HubText(PartOfText):
    hub: str
    revision: str
    """Commit sha."""
    config: str | None
    split: str
    column: str


@record
class PythonTopics(PartOfText):
    python_topics: Literal[True]
    python: str
    """The version, as the text differs between them."""


TextOrigin = TextFile | HubText | PythonTopics


@record
class TextIdentity(TypedDict):
    """Which text it was."""

    source: TextOrigin
    sha256: str
    """Of its UTF-8 bytes."""


@record
class Corpus(TypedDict):
    status: Literal["ok"]
    source: TextOrigin
    characters: int
    sha256: str
    text: str


@record
class Cut(TypedDict):
    """How a text is cut into windows."""

    window_tokens: int
    chunks: int | None
    """How many at most; None for all."""


@record
class CutWithin(Cut):
    max_bytes: int
    """How much the reference's log-probabilities may take."""


# --- what a model makes of it ---------------------------------------------------------------------


@record
class Vocabulary(TypedDict):
    """What must be the same for two models' predictions to be comparable."""

    tokens: int
    sha256: str


@record
class Estimate(TypedDict):
    value: float
    standard_error: float | None
    """None where one chunk shows none."""


@record
class PerplexitySummary(TypedDict):
    perplexity: Estimate


@record
class DivergenceSummary(TypedDict):
    perplexity: Estimate
    reference_perplexity: Estimate
    ln_perplexity_ratio: Estimate
    perplexity_ratio: Estimate
    kld_mean_nats: Estimate
    kld_median_nats: Estimate
    kld_p99_nats: Estimate
    top1_agreement_pct: Estimate


@record
class NllSums(TypedDict):
    """Over the scored positions of a chunk."""

    nll: float
    """Nats."""


@record
class DivergenceSums(NllSums):
    reference_nll: float
    """Nats."""
    kld: float
    """Nats."""
    same_top1: float
    """Positions."""


@record
class DivergencePositions(TypedDict):
    """What every scored position gave, by chunks, in nine significant digits: what errors and
    quantiles are computed from."""

    nll: list[list[float]]
    """Nats."""
    reference_nll: list[list[float]]
    """Nats."""
    kld: list[list[float]]
    """Nats."""


@record
class ReferenceRun(TypedDict):
    """What the reference's log-probabilities were made with."""

    gguf_sha256: str
    engine: Engine
    threads: int


@record
class Windows(TypedDict):
    """How a text was read."""

    window_tokens: int
    chunks: int
    """Windows that were read."""
    available_chunks: int
    wanted_chunks: int
    """More than `chunks` where the reference may not take so much room."""
    positions_per_chunk: int
    corpus: TextIdentity
    vocabulary: Vocabulary
    gguf_sha256: str
    engine: Engine
    threads: int
    computation: Computation
    batching: str


@record
class PerplexityMeasured(Windows):
    task: Literal["perplexity", "reference"]
    summary: PerplexitySummary
    reference: None
    chunk_sums: list[NllSums]


@record
class DivergenceMeasured(Windows):
    task: Literal["divergence"]
    summary: DivergenceSummary
    resampling: Resampling
    """Of chunks, for the standard errors of the median and the percentile."""
    reference: ReferenceRun
    chunk_sums: list[DivergenceSums]
    positions: DivergencePositions


@record
class Perplexity(PerplexityMeasured):
    """Of a model on a text; of the reference also the manifest of its log-probabilities."""

    status: Literal["ok"]
    started: str
    ended: str


@record
class DivergenceScored(DivergenceMeasured):
    """How far a variant's predictions are from the reference's."""

    status: Literal["ok"]
    started: str
    ended: str
