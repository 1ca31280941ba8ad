"""What can be trained, and in which words all else is refused before a weight is read."""

import re
from typing import Any

import numpy as np
import pytest

from llmpi.errors import CellError
from llmpi.gguf.contents import Stored
from llmpi.gguf.trainable import ROUNDABLE_KINDS, TRAINABLE, Header, check, check_roundable
from llmpi.train.architectures import ARCHITECTURES, Facts, architecture_of
from llmpi.train.network import Network
from llmpi.train.rounding.grids import GRIDS
from llmpi.train.rounding.layouts import LAYOUTS

VECTOR = Stored("F32", (32,), np.ones(32, np.float32).view(np.uint8))


def facts(name: str, layers: int = 2, more: tuple[str, ...] = (), **said: Any) -> Facts:
    """Of a file of an architecture; no tensor of it has more than a shape."""
    fields: dict[str, Any] = {
        "block_count": layers,
        "embedding_length": 256,
        "feed_forward_length": 512,
        "context_length": 512,
        "attention.head_count": 4,
        "attention.layer_norm_rms_epsilon": 1e-6,
        **{key.replace("__", "."): value for key, value in said.items()},
    }
    known = TRAINABLE.get(name, TRAINABLE["llama"])
    tensors = ["output_norm.weight", *more]
    tensors += [f"blk.{i}.{part}.weight" for i in range(layers) for part in known.names]
    return Facts(
        {"general.architecture": name, **{f"{name}.{key}": each for key, each in fields.items()}},
        {
            "token_embd.weight": Stored("F16", (300, 256), np.empty(0, np.uint8)),
            **dict.fromkeys(tensors, VECTOR),
        },
    )


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_weight_of_a_block_has_its_place(name: str) -> None:
    network = Network(facts(name, layers=6))
    for block in network._blocks.values():
        wanted = {key for key, _ in block.layers[0].named_parameters()}
        assert wanted == {f"{each}.weight" for each in TRAINABLE[name].names.values()}
        assert all(each.is_meta for each in block.parameters())


def test_blocks_are_of_the_kinds_that_llama_cpp_makes_them() -> None:
    def kinds(name: str, **said: Any) -> str:
        found = facts(name, layers=8, **said)
        return "".join(kind[0] for kind in architecture_of(found).kinds(found))

    assert kinds("qwen3") == "f" * 8
    assert kinds("smollm3") == "fffnfffn"
    assert kinds("gemma3") == "f" * 8, "no window"
    assert kinds("gemma3", attention__sliding_window=32) == "sssssfss"
    other = {"attention__sliding_window": 32, "attention__sliding_window_pattern": 4}
    assert kinds("gemma3", **other) == "sssfsssf"
    other["attention__sliding_window_pattern"] = [True, False] * 4
    assert kinds("gemma3", **other) == "sfsfsfsf"


@pytest.mark.parametrize(
    ("name", "said", "words"),
    [
        ("gemma2", {}, "llama, qwen3, gemma3, smollm3, phi3, and this is gemma2"),
        ("qwen3", {"rope__scaling__type": "yarn"}, "scaled by 'yarn' cannot be trained in a qwen3"),
        ("phi3", {"rope__scaling__factor": 4.0}, "scaled by 'linear' cannot be trained in a phi3"),
        ("llama", {"rope__dimension_count": 32}, "a part of the head cannot be trained in a llama"),
        ("qwen3", {"attention__value_length": 32}, "values of another width than their keys"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "caps its logits"),
        ("qwen3", {"attention__causal": False}, "tokens see those behind them"),
        ("qwen3", {"more": ("blk.0.attn_q.bias",)}, "holds blk.0.attn_q.bias"),
        ("smollm3", {"more": ("rope_freqs.weight",)}, "holds rope_freqs.weight"),
        ("qwen3", {"feed_forward_length": [1, 2]}, "does not say qwen3.feed_forward_length"),
    ],
)
def test_what_cannot_be_trained_is_said_by_name(name: str, said: Any, words: str) -> None:
    """Before a weight is read by the training; and of a header alone in the same words."""
    found = facts(name, **said)
    with pytest.raises(CellError, match=words) as told:
        Network(found)
    with pytest.raises(CellError, match=f"^{re.escape(str(told.value))}$"):
        check(Header(found.fields, [*found.tensors]))


def test_what_can_be_trained_is_not_refused() -> None:
    assert ARCHITECTURES.keys() == TRAINABLE.keys()
    for name in TRAINABLE:
        check(facts(name))


def test_a_rounding_of_types_that_cannot_be_learned_is_refused() -> None:
    assert {*ROUNDABLE_KINDS} == {*LAYOUTS, *GRIDS}
    check_roundable(["F32", "Q4_0"])
    with pytest.raises(CellError, match="their blocks do not divide its rows"):
        check_roundable(["F32", "Q8_0"])


def test_a_file_that_lacks_a_tensor_is_told() -> None:
    found = facts("qwen3")
    tensors = {name: each for name, each in found.tensors.items() if "0.attn_k_norm" not in name}
    with pytest.raises(CellError, match=r"lacks blk\.0\.attn_k_norm\.weight"):
        Network(Facts(found.fields, tensors))


def test_rotary_embeddings_are_as_a_file_says_them() -> None:
    """Linear scaling and factors divide frequencies; of Phi-3 a part of the head is turned."""
    plain = Network(facts("llama"))._blocks["full_attention"].rotary_emb.inv_freq
    scaled = Network(facts("llama", rope__scaling__factor=4.0))
    assert (scaled._blocks["full_attention"].rotary_emb.inv_freq * 4 == plain).all()
    of_phi = Network(facts("phi3", rope__dimension_count=48))._blocks["full_attention"].rotary_emb
    assert (len(plain), len(of_phi.inv_freq)) == (32, 24)
