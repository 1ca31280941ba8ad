"""How a model is trained for a quantization type: the same in a config, a job and a manifest."""

from dataclasses import dataclass, fields
from typing import Any

from llmpi.errors import LlmpiError


@dataclass(frozen=True)
class Qat:
    """Settings of quantization-aware training."""

    steps: int = 90
    """Updates of the weights."""
    sequences: int = 4
    """So many sequences of the text make a step."""
    sequence_tokens: int = 256
    accumulation: int = 1
    """A step's sequences are computed in so many parts, one after another: less memory."""
    recompute: bool = False
    """Keep a layer's input only, and compute the layer again on the way back: less memory."""
    bf16: bool = True
    """Matrix products in bfloat16; weights, norms, losses and updates stay float32."""

    learning_rate: float = 2e-4
    """Of AdamW, at its highest."""
    warmup_share: float = 0.1
    """Of the steps, over which the rate rises linearly; then it falls as a cosine."""
    final_rate_share: float = 0.05
    """Of the highest rate, what is left of it at the last step."""
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    distill: bool = True
    """Learn from the predictions of the unquantized model (KL divergence), or else, from scratch,
    from the text alone (cross entropy)."""
    temperature: float = 1.0
    """Of teacher and student in the KL divergence."""
    hidden_weight: float = 0.0
    """Weight of the squared distance of each layer's output from the teacher's, in units of the
    teacher's mean square."""

    held_out_share: float = 0.1
    """Of the text, its end, that training never sees."""
    held_out_sequences: int = 8
    """So many of it are looked at, spread evenly."""
    evaluate_every: int = 30
    """Steps between two looks at the held-out loss; at each, a checkpoint is written."""
    patience: int = 3
    """So many looks without a better loss end the training; the best weights are kept."""

    seed: int = 0

    def __post_init__(self) -> None:
        counts = "steps sequences sequence_tokens accumulation held_out_sequences evaluate_every"
        for name in (*counts.split(), "patience", "learning_rate", "temperature", "clip_norm"):
            _check(getattr(self, name) > 0, name, "must be greater than 0")
        for name in ("warmup_share", "final_rate_share"):
            _check(0 <= getattr(self, name) <= 1, name, "must be from 0 to 1")
        for name in ("hidden_weight", "weight_decay"):
            _check(getattr(self, name) >= 0, name, "must not be negative")
        _check(0 < self.held_out_share < 1, "held_out_share", "must lie between 0 and 1")
        _check(
            self.sequences % self.accumulation == 0,
            "accumulation",
            f"must divide sequences, {self.sequences}",
        )
        _check(
            self.distill or self.hidden_weight == 0,
            "hidden_weight",
            "needs a teacher: set distill to true, or hidden_weight to 0",
        )


def settings(given: dict[str, Any]) -> Qat:
    """Settings from a mapping.

    Raises:
        LlmpiError: a key is unknown, or a value out of its range.
    """
    known = [field.name for field in fields(Qat)]
    for name in given:
        _check(name in known, name, f"is unknown; there are {', '.join(known)}")
    return Qat(**given)


def _check(good: bool, name: str, what: str) -> None:
    if not good:
        raise LlmpiError(f"qat: {name} {what}")
