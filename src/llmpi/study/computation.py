"""What of a runtime changes what the model says: whose score is whose.

A score belongs to what was run, so quality is scored for each *computation* that a runtime makes of
a variant; runtimes that compute the same share it.
"""

from collections.abc import Mapping
from itertools import product, starmap
from typing import Literal, NamedTuple, get_args

from llmpi.study.measuring import KvType, Runtime

Effect = Literal["computes", "speculates", "rounds", "nothing", "elsewhere"]

EFFECTS: Mapping[str, Effect] = {
    "threads": "rounds",
    "batch_tokens": "rounds",
    "ubatch_tokens": "rounds",
    "kv_cache": "computes",
    "flash_attention": "computes",
    "mmap": "nothing",
    "mlock": "nothing",
    "lazy": "nothing",
    "repack": "rounds",
    "omp_wait_policy": "nothing",
    "prompt_lookup": "speculates",
    "draft": "speculates",
    "tune": "nothing",
    "endpoint": "elsewhere",
}
"""What each key of a runtime does to the output.

`computes`: another number format in between. A KV cache of 4 bits is 0.042 to 0.068 nats away, as
far as Q4_K_M in F16's place; without flash attention an F16 cache's values are added up in single
precision, with it in half, over the whole context (docs/methodology.md, *Whose score*).

`rounds`: the same sums in another order: 0 nats (threads), 3e-6 to 4e-6 (F16) and 0.003 to 0.007
(quantized weights, whose activations are rounded to 8 bits) for batch shape and repacked weights,
the same on average for every variant (docs/methodology.md, *Parity*). Scoring pads its batches to
fixed shapes, so that variants are compared under one rounding.

`speculates`: the same text where the kernels round a token alike by itself and in a batch, which
hangs on the weights; whether it was is seen in what was generated
(`llmpi.summary.greedy.says_the_same`).

`nothing`: where the bytes lie, how threads wait, and that a search starts here; where the search
ends is a runtime of its own.

`elsewhere`: another engine computes, and what llmpi's own scores is not its.
"""


class Computation(NamedTuple):
    """The keys of a runtime that compute, as llama.cpp has them by default.

    Flash attention is there or is not: `auto` finds it on every processor, so `on` is the same.
    """

    kv_cache: KvType = "f16"
    flash_attention: Literal["auto", "off"] = "auto"

    @property
    def id(self) -> str:
        """It names files: `f16`, `q8_0`, `f16-noflash`."""
        return self.kv_cache if self.flash_attention == "auto" else f"{self.kv_cache}-noflash"


BY_ID = {one.id: one for one in starmap(Computation, product(get_args(KvType), ("auto", "off")))}
DEFAULT = Computation().id
"""llama.cpp's own, with which every variant is scored, and against which the others are held."""


def over_http(runtime: str) -> str:
    """The id of what an endpoint computes: nothing says what that is but its name."""
    return f"http-{runtime}"


def computation_of(runtime: Runtime) -> str:
    """The id of what a runtime of llmpi's engine computes, where its speculation, if it has any, is
    exact."""
    attention: Literal["auto", "off"] = "off" if runtime.flash_attention == "off" else "auto"
    return Computation(runtime.kv_cache, attention).id
