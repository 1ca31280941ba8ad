"""Which models can learn for few bits, by what the header of their file says.

One answer for the training, which refuses before it reads a weight, and for the plan, which says it
before anything runs. What llama.cpp computes otherwise than transformers is refused.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmpi.errors import CellError
from llmpi.gguf import contents
from llmpi.gguf.contents import Fields

EMBEDDING, OUTPUT, OUTPUT_NORM = "token_embd.weight", "output.weight", "output_norm.weight"
ROPE_FACTORS = "rope_freqs.weight"
LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"

ROUNDABLE_KINDS = (
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q5_0", "IQ4_NL", "IQ4_XS"),
    *("Q4_0", "Q2_0", "TQ1_0", "TQ2_0"),
)
"""Types of matrices whose rounding can be learned; what else is in a file stays as llama.cpp made
it."""


@dataclass(frozen=True)
class Header:
    """What a file says of its model."""

    fields: Fields
    tensors: Collection[str]
    """Their names."""

    @property
    def architecture(self) -> str:
        return str(self.fields["general.architecture"])

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number of the architecture's.

        Raises:
            CellError: the file does not say it.
        """
        value = self.said(name, default)
        if not isinstance(value, int):
            raise CellError(f"the file does not say {self.architecture}.{name}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """
        Raises:
            CellError: the file does not say it.
        """
        value = self.said(name, default)
        if not isinstance(value, int | float):
            raise CellError(f"the file does not say {self.architecture}.{name}")
        return float(value)

    def said(self, name: str, default: object = None) -> object:
        return self.fields.get(f"{self.architecture}.{name}", default)

    @property
    def layers(self) -> int:
        return self.whole("block_count")

    @property
    def heads(self) -> int:
        if count := self.whole("attention.head_count"):
            return count
        raise CellError("a model without heads of attention cannot be trained")

    @property
    def kv_heads(self) -> int:
        return self.whole("attention.head_count_kv", self.heads)

    @property
    def head_width(self) -> int:
        return self.whole("attention.key_length", self.whole("embedding_length") // self.heads)

    @property
    def rotary_width(self) -> int:
        return self.whole("rope.dimension_count", self.head_width)

    @property
    def scaling(self) -> object:
        """Of rotary embeddings; a file that does not say it means `linear`."""
        kind = self.said("rope.scaling.type", "linear")
        return "none" if kind == "linear" and self.scaling_factor in (0, 1) else kind

    @property
    def scaling_factor(self) -> float:
        return self.number("rope.scaling.factor", 1.0)


def header_of(gguf: Path) -> Header:
    """Of a sound file.

    Raises:
        ValueError: it is none.
    """
    with contents.header(gguf) as handle:
        architecture = contents.fields(handle, ("general.architecture",))
        own = tuple(f"{name}." for name in architecture.values())
        return Header(architecture | contents.fields(handle, own), contents.names(handle))


@dataclass(frozen=True)
class Trainable:
    """What a model of an architecture may be."""

    names: Mapping[str, str]
    """Of weights: transformers' in a block, by llama.cpp's."""
    scaled: tuple[str, ...] = ("none", "linear")
    """How its rotary embeddings may be."""
    factors: frozenset[str] = frozenset()
    """Tensors of rotary frequencies that its files may hold."""
    partial: bool = False
    """Rotary embeddings may be of a part of the head."""


def check(header: Header) -> None:
    """
    Raises:
        CellError: it is a model that cannot be trained here.
    """
    name = header.architecture
    if name not in TRAINABLE:
        raise CellError(
            f"learning for few bits knows the architectures {', '.join(TRAINABLE)}, and "
            f"this is {name}"
        )
    found = TRAINABLE[name]
    if header.scaling not in found.scaled:
        raise CellError(
            f"rotary embeddings scaled by {header.scaling!r} cannot be trained in a {name}; "
            f"{', '.join(found.scaled)} can"
        )
    if not found.partial and header.rotary_width != header.head_width:
        raise CellError(f"rotary embeddings of a part of the head cannot be trained in a {name}")
    if header.whole("attention.value_length", header.head_width) != header.head_width:
        raise CellError("values of another width than their keys cannot be trained")
    if header.said("final_logit_softcapping"):
        raise CellError("a model that caps its logits cannot be trained")
    if header.said("attention.causal", True) is False:
        raise CellError("a model whose tokens see those behind them cannot be trained")
    for width in ("embedding_length", "feed_forward_length", "context_length"):
        header.whole(width)
    header.number("attention.layer_norm_rms_epsilon")
    _check_names(header, found)


def _check_names(header: Header, found: Trainable) -> None:
    """Every tensor of the file has its place in the computation, and the other way round."""
    needed = {EMBEDDING, OUTPUT_NORM}
    for i in range(header.layers):
        needed |= {f"blk.{i}.{part}.weight" for part in found.names}
    if missing := sorted(needed - set(header.tensors)):
        raise CellError(f"the file lacks {missing[0]}; mixtures of experts cannot be trained")
    if unknown := sorted(set(header.tensors) - needed - {OUTPUT} - found.factors):
        raise CellError(f"the file holds {unknown[0]}, which this training does not know")


def check_roundable(kinds: Collection[str]) -> None:
    """
    Args:
        kinds: the types that llama.cpp gives the tensors of blocks.

    Raises:
        CellError: no matrix is of a type whose rounding can be learned.
    """
    if not {*kinds} & {*ROUNDABLE_KINDS}:
        raise CellError(
            "of no matrix llama.cpp makes a type whose rounding can be learned, which are "
            f"{', '.join(ROUNDABLE_KINDS)}: their blocks do not divide its rows"
        )


# --- each of them ---------------------------------------------------------------------------------

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_FOUR_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_FUSED = {
    "attn_norm": "input_layernorm",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}

TRAINABLE = {
    "llama": Trainable(_BLOCK, factors=frozenset({ROPE_FACTORS})),
    "qwen3": Trainable(_BLOCK | _HEAD_NORMS),
    "gemma3": Trainable(_BLOCK | _HEAD_NORMS | _FOUR_NORMS),
    "smollm3": Trainable(_BLOCK),
    "phi3": Trainable(
        _FUSED,
        scaled=("none", "longrope"),
        factors=frozenset({LONG_FACTORS, SHORT_FACTORS}),
        partial=True,
    ),
}
"""By their names in GGUF files."""
