"""The manifests of GGUF files and of importance matrices."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from llmpi.engine.records import Engine, record
from llmpi.quality.divergence.records import TextIdentity

# --- what a file holds ----------------------------------------------------------------------------


@record
class TensorsOfType(TypedDict):
    tensors: int
    parameters: int
    bytes: int


@record
class Contents(TypedDict):
    """What the engine's own reader says of a GGUF file."""

    architecture: str | None
    parameters: int
    bits_per_weight: float
    """All tensors together."""
    main_type: str
    """That of most parameters, in capitals."""
    file_type: str | None
    """What the file calls itself (`general.file_type`), which its tensors need not bear out; None
    where it does not, or by a number that llama.cpp has no quantization for."""
    read_per_token_bytes: int | None
    """Of the weights, to decode a token, as the engine's graph of one reads them: of the experts
    those that are chosen, of a table one row. None where the engine does not load the file."""
    tensors_by_type: dict[str, TensorsOfType]
    chat_template: bool
    """Whether it holds one; without it a model is given plain text."""


@record
class Checkpoint(TypedDict):
    """What a safetensors checkpoint says of itself."""

    architecture: str
    """As config.json has it."""
    dtype: str
    """Of most parameters; TERNARY for packed BitNet weights."""
    parameters: int
    vectors: int
    """Parameters of one-dimensional tensors."""


# --- the model that it is made of -----------------------------------------------------------------


@record
class ModelFile(TypedDict):
    sha256: str
    bytes: int


@record
class ModelGguf(TypedDict):
    """A GGUF file of a model, as it was published."""

    files: list[str]
    """Its parts, in order; one where it comes as one file."""
    contents: Contents


@record
class PypiOrigin(TypedDict):
    kind: Literal["pypi"]
    pypi: str
    version: str
    file: str
    parts: list[str]
    """Of a file in several wheels: each with its part."""


@record
class HubOrigin(TypedDict):
    kind: Literal["hub"]
    hub: str
    revision: str
    """Commit sha."""
    requested: str
    """What the config asks for: a commit, a branch or a tag."""


@record
class PathOrigin(TypedDict):
    kind: Literal["path"]
    path: str


@record
class ModelShape(TypedDict):
    """Of a small model from scratch (`llmpi.study.models.ScratchSource`)."""

    merges: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_width: int
    context_tokens: int


@record
class ScratchOrigin(ModelShape):
    kind: Literal["scratch"]
    seed: int
    """Of the first weights."""


Origin = PypiOrigin | HubOrigin | PathOrigin | ScratchOrigin
"""What names the source of a model for ever."""


class FetchedModel(TypedDict):
    """What a conversion takes of a model's manifest (`llmpi.models.records.Model`)."""

    status: Literal["ok"]
    origin: Origin
    checkpoint: Origin | None
    files: dict[str, ModelFile]
    ggufs: list[ModelGguf]


# --- how it was made ------------------------------------------------------------------------------


@record
class Fallback(TypedDict):
    """A tensor that did not get the type that it was meant for."""

    tensor: str
    wanted: str
    got: str


@record
class MadeOf(TypedDict):
    sha256: str | None
    """Of the file; None of a checkpoint."""
    manifest_sha256: str | None
    """Of the files as they were fetched; None of what was made here."""


@record
class MatrixSource(TypedDict):
    sha256: str


@record
class MatrixUsed(TypedDict):
    """The importance matrix."""

    sha256: str
    corpus_sha256: str
    chunks: int


@record
class Converter(TypedDict):
    """What made a GGUF file of a checkpoint: versions."""

    sources: str
    """Of llama.cpp: version and digest of the pin."""
    torch: str
    transformers: str
    sentencepiece: str


Kept = Literal["plain", "searched", "learned"]
"""The weights of a block: as llama.cpp quantizes them, as learning begins (of a rounding the
nearest with the scales that are least in error), or what was learned from there."""


@record
class LearnedBlock(TypedDict):
    """A transformer block: the squared distance of its output from the unquantized model's, over
    the square of that, mean over tokens of text that is not learned from."""

    plain: float
    searched: float
    learned: float
    kept: Kept
    """The least of them."""
    matrices: int
    """Weights that are not as llama.cpp made them."""


@record
class LookAtHeldOut(TypedDict):
    """How well a model in training does on text that it never sees."""

    step: int
    loss: float
    nll: float
    """Nats per token."""
    train_loss: float | None
    """Mean since the last look; None before the first step."""
    seconds: float
    """Of training so far."""


@record
class TrainingSettings(TypedDict):
    """As `llmpi.study.training.Training` says."""

    steps: int
    sequences: int
    sequence_tokens: int
    accumulation: int
    recompute: bool
    bf16: bool
    learning_rate: float
    warmup_share: float
    final_rate_share: float
    weight_decay: float
    clip_norm: float
    distill: bool
    by_block: bool | None
    temperature: float
    hidden_weight: float
    held_out_share: float
    held_out_sequences: int
    evaluate_every: int
    patience: int
    seed: int


@record
class TrainingDone(TypedDict):
    """A quantization-aware training."""

    settings: TrainingSettings
    by_block: bool
    """One transformer block after another, and then the scales of all; or the whole at once."""
    corpus: TextIdentity
    train_windows: int
    held_out_windows: int
    before: LookAtHeldOut
    """At what was quantized without training."""
    after: LookAtHeldOut
    """At what is in the file."""
    history: list[LookAtHeldOut]
    """Block by block: of what was not trained, of all blocks, and while the scales learn."""
    blocks: list[LearnedBlock]
    """Block by block: how each learned."""
    steps: int
    """Updates of all weights, or of a block's and then of the scales."""
    seconds: float
    device: str
    torch: str
    """Its version."""
    transformers: str
    """The version whose modules computed the model."""
    verified: int
    """Tensors whose bytes were compared with those that training saw."""


# --- mixes ----------------------------------------------------------------------------------------


@record
class MixOption(TypedDict):
    """A type that a group of tensors may get."""

    type: str
    bytes: int
    """Of all its tensors, each filled up to 32."""
    error_ratio: float
    """Of its squared error to that of the type that was probed."""
    loss_nats: float
    """What it is held to add to the divergence, in proportion to its error."""
    token_s: NotRequired[float]
    """Of a token, on the board that it is made for."""


@record
class MixProbe(TypedDict):
    """What a type in a group did to the divergence, measured with the weights it would keep."""

    type: str
    kld_nats: float
    standard_error: float
    """Over windows, paired."""


@record
class MixGroup(TypedDict):
    """Tensors that get one type: those that do the same, in a third of the layers, or in fewer
    where these differ (`splits`)."""

    name: str
    tensors: list[str]
    parameters: int
    type: str
    """That it got."""
    bytes: int
    loss_nats: float
    options: list[MixOption]
    """From wide to narrow."""
    alone: MixProbe
    """All else unquantized."""
    beside: MixProbe | None
    """All else as the first choice had it: what the change to this neighbour changed. None where
    there is no other type."""


@record
class MixSplit(TypedDict):
    """A group that was tried in two halves, by its layers, and why each got a type of its own or
    both one."""

    group: str
    into: list[str]
    type: str
    """That both were probed with, each alone."""
    nats_per_mb: list[float]
    """What a half lost, over its megabytes in that type."""
    standard_error: float
    """Of the difference of these, paired over windows."""
    kept: bool
    """They differ by more than three of it."""


@record
class MixRound(TypedDict):
    """A choice: the best by what was known."""

    types: dict[str, str]
    """By group."""
    predicted_nats: float
    kld_nats: float
    """Measured, with the weights that these types would keep."""
    standard_error: float


@record
class MixProxy(TypedDict):
    """What the probes beside the first choice measured, over what was expected of them by a probe
    of each group alone and the errors of the types."""

    ratio_median: float
    ratio_least: float
    ratio_most: float


@record
class MixTime(TypedDict):
    """What a mix is to take on a board, by its rates."""

    device: str
    rates_sha256: str
    """Of the record of its rates (`results/rates`)."""
    rest_s: float
    """What a token takes beside the groups' products, as it did in the file that was decoded there;
    below zero where the products were slower by themselves."""
    limit_s: float | None
    """What the budget leaves for the groups; None of one that is of loss."""
    taken_s: float
    token_s: float
    """Foreseen of a token, at the beginning of a context."""
    prompt_token_s: float
    """Foreseen of a token of a prompt, there, with as many read at once as were timed."""


@record
class MixFound(TypedDict):
    """What the engine and the solver say of a mix."""

    groups: list[MixGroup]
    splits: NotRequired[list[MixSplit]]
    """Groups that were tried in halves."""
    limit_bytes: int | None
    """What the budget leaves for the groups; None of one that is of time or loss."""
    taken_bytes: int
    time: NotRequired[MixTime | None]
    """Where it is made for a board."""
    rounds: list[MixRound]
    """The first by probes of each group alone, the second by probes beside the first; more where
    none kept to a budget of loss."""
    taken_round: int
    """From 0: the one of least divergence; of a budget of loss the one of least bytes or time of
    those that keep to it."""
    proxy: MixProxy | None
    """None where no group had a neighbour to be probed."""
    rounding_nats: float
    """What the kernels of quantized types add by rounding what they multiply with: the divergence
    of a file of Q8_0 less that of its weights. The file's is to be that much more than what was
    measured with its weights."""
    probes: int
    windows: int
    window_tokens: int
    engine: Engine
    scipy: str
    """Version of what brings the solver."""


@record
class Mix(MixFound):
    """Which type each group of tensors of a mix gets, and why."""

    status: Literal["ok"]
    quant: str
    source: MatrixSource
    corpus_sha256: str
    imatrix: MatrixUsed | None
    threads: int
    made: str


@record
class MixedGroup(TypedDict):
    """A group of tensors of a mix, and what its neighbours would have changed."""

    name: str
    tensors: int
    type: str
    bytes: int
    loss_nats: float
    wider: MixOption | None
    narrower: MixOption | None


@record
class MixUsed(TypedDict):
    """What a mix was made by."""

    sha256: str
    """Of the search's record (`results/mix`), which has all probes and options."""
    corpus_sha256: str
    limit_bytes: int | None
    taken_bytes: int
    time: NotRequired[MixTime | None]
    predicted_nats: float
    kld_nats: float
    """Measured with the weights that it keeps."""
    expected_nats: float
    """Of the file, on the text that was searched on: with the rounding of its kernels, too."""
    probes: int
    groups: list[MixedGroup]
    splits: NotRequired[list[MixSplit]]
    """Groups that were tried in halves, and which of them were divided."""


# --- learned rounding -----------------------------------------------------------------------------


@record
class RoundingDone(TypedDict):
    """How the rounding was learned."""

    steps: int
    """Of each block."""
    corpus: TextIdentity
    windows: int
    """Every eighth was not learned from."""
    window_tokens: int
    blocks: list[LearnedBlock]
    seconds: float
    device: str
    torch: str
    """Its version."""
    transformers: str
    """The version whose modules computed the model."""
    verified: int
    """Matrices whose bytes in the file were compared with those that were learned."""


@record
class Gguf(Contents):
    """The manifest of a GGUF file that was quantized, rounded, converted or trained."""

    status: Literal["ok"]
    quant: str
    sha256: str
    """Of the file; of one in several parts, of their hashes."""
    bytes: int
    parts: list[ModelFile]
    """In order, where it is in several; none where it is one file."""
    fallbacks: list[Fallback]
    lineage: list[str]
    """Types it was made from, and its own: `Q4_K_M (Q8_0+Q5_0)` is what a file calls itself and
    what its tensors are. Of a published file its own alone, as its tensors are."""
    source: MadeOf
    """Of a published file, itself."""
    imatrix: MatrixUsed | None
    engine: Engine | None
    """The quantizer's; None where the converter wrote the file."""
    converter: Converter | None
    training: TrainingDone | None
    mix: MixUsed | None
    rounding: RoundingDone | None
    lattice_tensors: int | None
    """Whose weights are whole multiples of a scale, as training for Q4_0 leaves them: of an F16
    that was made here, how many lie so, and of a Q4_0, how many keep just those weights; None of
    others."""
    made: str


@record
class Start(TypedDict):
    """The manifest of a model from scratch, before its training."""

    status: Literal["ok"]
    sha256: str
    lineage: list[str]


# --- importance matrices --------------------------------------------------------------------------


@record
class MatrixMeasured(TypedDict):
    """What the engine says of a matrix that it made."""

    chunks: int
    """Read."""
    wanted_chunks: int | None
    """None for all."""
    available_chunks: int
    chunk_tokens: int
    tokens: int
    weights: int
    """Tensors whose inputs were measured."""
    engine: Engine


@record
class Imatrix(MatrixMeasured):
    """The manifest of an importance matrix."""

    status: Literal["ok"]
    sha256: str
    bytes: int
    corpus_sha256: str
    source: MatrixSource
    """The file that it was made of."""
    threads: int
    made: str
