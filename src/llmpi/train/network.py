"""What a model computes, through transformers' own modules, of weights as its GGUF file holds them.

A block is transformers' model of that block alone, so that masks and rotary embeddings are its own,
too. No weight lies in it: it computes with those that it is handed, and gradients go to them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 its usual name
import transformers
from torch import Tensor
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, PreTrainedConfig

from llmpi.gguf import contents
from llmpi.gguf.trainable import EMBEDDING, OUTPUT, OUTPUT_NORM, ROPE_FACTORS
from llmpi.train.architectures import Facts, architecture_of, names_of

Weights = Mapping[str, Tensor]
MODULES = f"transformers {transformers.__version__}"
"""What computes: a training that was begun with others is another one."""


def network_of(path: Path) -> "Network":
    """Of the model of a sound GGUF file; no matrix is read.

    Raises:
        CellError: it is a model that cannot be trained here.
    """
    with contents.header(path) as handle:
        return Network(Facts(contents.fields(handle), contents.stored(path)))


def output_name(weights: Collection[str]) -> str:
    """The matrix that makes logits: the embedding's, where the file has none of its own."""
    return OUTPUT if OUTPUT in weights else EMBEDDING


class Network:
    """
    Raises:
        CellError: it is a model that cannot be trained here.
    """

    def __init__(self, facts: Facts) -> None:
        architecture = architecture_of(facts)
        self.layers, self.context_tokens = facts.layers, facts.whole("context_length")
        self._names, self._norm_shift = names_of(facts), architecture.norm_shift
        heads = {"attn_q": facts.heads, "attn_k": facts.kv_heads}
        self._paired = heads if architecture.pairs else {}
        self._kinds = architecture.kinds(facts)
        self._blocks = {
            kind: _one_block(architecture.config(facts, kind)) for kind in set(self._kinds)
        }
        one = self._blocks[self._kinds[0]]
        self._norm, self._scale = one.norm, getattr(one.embed_tokens, "scalar_embed_scale", 1.0)
        for block in self._blocks.values():
            block.norm = torch.nn.Identity()
            if ROPE_FACTORS in facts.tensors:
                block.rotary_emb.inv_freq /= torch.tensor(facts.vector(ROPE_FACTORS))

    @property
    def parts(self) -> list[str]:
        """The weights of a block, as llama.cpp names them in it."""
        return list(self._names)

    def hidden_states(
        self,
        weights: Weights,
        tokens: Tensor,
        *,
        dtype: torch.dtype,
        recompute: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """What the output matrix is multiplied with, and the output of each block.

        Args:
            weights: of the whole model, by their names in a file.
            tokens: int [sequences, positions].
            dtype: of matrix products; everything else is float32.
            recompute: keep a block's input only, and compute it again on the way back.

        Returns:
            float32 [sequences, positions, width], and as many of this shape as there are blocks.
        """
        state = self.embedded(F.embedding(tokens, weights[EMBEDDING]))
        outputs = []
        for block in range(self.layers):
            given = {part: weights[f"blk.{block}.{part}.weight"] for part in self._names}
            if recompute:
                state = checkpoint(self.output, block, given, state, dtype, use_reentrant=False)
            else:
                state = self.output(block, given, state, dtype)
            outputs.append(state)
        return self.norm(state, weights[OUTPUT_NORM]), outputs

    def embedded(self, rows: Tensor) -> Tensor:
        """What the first block is given of rows of the table, float32."""
        return rows.float() * self._scale if self._scale != 1 else rows.float()

    def output(self, block: int, weights: Weights, state: Tensor, dtype: torch.dtype) -> Tensor:
        """Of a block, float32 as its input.

        Args:
            weights: of the block, by their names in `parts`.
            state: float32 [sequences, positions, width].
            dtype: of matrix products.
        """
        given = {
            f"layers.0.{name}.weight": self._as_transformers(part, weights[part])
            for part, name in self._names.items()
        }
        how = {"inputs_embeds": state, "use_cache": False}
        with torch.autocast(state.device.type, dtype, enabled=dtype != torch.float32):
            made = functional_call(self._blocks[self._kinds[block]], given, (), how)
        found: Tensor = made.last_hidden_state
        return found

    def norm(self, states: Tensor, weight: Tensor) -> Tensor:
        """Of the last block's output."""
        given = {"weight": weight - self._norm_shift if self._norm_shift else weight}
        found: Tensor = functional_call(self._norm, given, (states,))
        return found

    def _as_transformers(self, part: str, weight: Tensor) -> Tensor:
        if part in self._paired:
            pairs = weight.unflatten(0, (self._paired[part], -1, 2))
            return pairs.transpose(1, 2).reshape(weight.shape)
        if self._norm_shift and weight.dim() == 1:
            return weight - self._norm_shift
        return weight


def _one_block(config: PreTrainedConfig) -> Any:  # transformers' own
    with torch.device("meta"):
        made = AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    made.rotary_emb = type(made.rotary_emb)(config)  # frequencies, which are no weights
    return made.eval()
