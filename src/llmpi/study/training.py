"""What variants are made with: a text to calibrate on, and how a model is trained for its bits."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llmpi.quant_types import TensorType
from llmpi.study.fields import Part, TextSource, unique


class Calibration(Part):
    """The text on which importance matrices are made, for variants named `TYPE+imatrix`, on
    which mixes are searched, and from which roundings are learned."""

    text: TextSource
    """Where the text comes from; it should be what the model will be used for."""
    chunks: int | None = Field(default=100, ge=2)
    """A matrix is made of so many chunks of 512 tokens from the beginning; null takes the whole
    text."""


class Mixing(Part):
    """How a mix is searched: which type each group of its tensors gets. What it reads is the text
    under `calibration`."""

    windows: int = Field(default=8, ge=2)
    """So many windows of 512 tokens, from all over the text, tell what a type costs; more take
    longer, and tell closer types apart."""
    types: Annotated[list[TensorType], AfterValidator(unique)] | None = Field(
        default=None, min_length=1
    )
    """Types of tensors to choose from; by default all that suit a tensor. Name fewer where some are
    slow on your boards, as much of what begins with IQ3 and IQ2 is."""


class Rounding(Part):
    """How the rounding of a variant named `TYPE+round` is learned, block by block. What it learns
    from is the text under `calibration`. Set up with `make train`."""

    steps: int = Field(default=100, ge=1)
    """Updates of the rounding of each transformer block."""
    windows: int = Field(default=128, ge=8)
    """So many windows of 256 tokens, from all over the text, are learned from; every eighth of them
    is held out, and tells whether something was learned."""


class Training(Part):
    """How a model is trained for a quantization."""

    steps: int = Field(default=90, ge=1)
    """Updates of the weights."""
    sequences: int = Field(default=4, ge=1)
    """So many sequences of the text make a step."""
    sequence_tokens: int = Field(default=256, ge=16)
    """Tokens of a sequence."""
    accumulation: int = Field(default=1, ge=1)
    """A step's sequences are computed in so many parts, one after another: less memory."""
    recompute: bool = False
    """Keep a layer's input only, and compute the layer again on the way back: less memory."""
    bf16: bool = True
    """Matrix products in bfloat16; weights, norms, losses and updates stay float32."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Of AdamW, at its highest."""
    warmup_share: float = Field(default=0.1, ge=0, le=1)
    """Of the steps, over which the rate rises linearly; then it falls as a cosine."""
    final_rate_share: float = Field(default=0.05, ge=0, le=1)
    """Of the highest rate, what is left of it at the last step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""

    distill: bool = True
    """Learn from the predictions of the unquantized model (KL divergence), or else from the text
    alone (cross entropy), as a model from scratch always does."""
    by_block: bool | None = None
    """Train one transformer block after another to give the unquantized block's outputs, and then
    the scales of all blocks for its predictions, each for so many `steps`: a fraction of the
    memory. By default where the whole model at once does not fit into the memory that is free; the
    file's manifest says which it was. `recompute`, `hidden_weight` and `patience` are of the whole
    model's training alone."""
    temperature: float = Field(default=1.0, gt=0)
    """Of teacher and student in the KL divergence."""
    hidden_weight: float = Field(default=0.0, ge=0)
    """Weight of the squared distance of each layer's output from the teacher's, in units of the
    teacher's mean square."""

    held_out_share: float = Field(default=0.1, gt=0, lt=1)
    """Of the text, its end, that training never sees."""
    held_out_sequences: int = Field(default=8, ge=1)
    """So many of it are looked at, spread evenly."""
    evaluate_every: int = Field(default=30, ge=1)
    """Steps between two looks at the held-out loss; at each, a checkpoint is written."""
    patience: int = Field(default=3, ge=1)
    """So many looks without a better loss end the training; the best weights are kept."""

    seed: int = Field(default=0, ge=0)
    """Of the order of the sequences, and of a new model's weights."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.sequences % self.accumulation:
            raise PydanticCustomError(
                "accumulation",
                "'accumulation' must divide 'sequences', {sequences}",
                {"sequences": self.sequences},
            )
        if self.by_block and not self.distill:
            raise PydanticCustomError(
                "by_block", "'by_block' needs a teacher: set 'distill' to true, or it to false", {}
            )
        if self.hidden_weight and not self.distill:
            raise PydanticCustomError(
                "hidden_weight",
                "'hidden_weight' needs a teacher: set 'distill' to true, or it to 0",
                {},
            )
        return self


class Qat(Part):
    """Quantization-aware training, for variants named `TYPE-qat`. Set up with `make train`."""

    text: TextSource
    """Where the text comes from; keep what a divergence task scores out of it."""
    training: Training = Training()
    """How, for every model that does not say so itself."""
