"""What is measured: workloads, and the engine's settings they run with."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.parts import Part


class Workload(Part):
    """A speed measurement: prompt processing (pp), then token generation (tg) behind the prompt."""

    prompt_tokens: int = Field(ge=1, le=1_000_000)
    """Tokens of the prompt."""
    output_tokens: int = Field(ge=1, le=1_000_000)
    """Tokens to generate, each timed."""
    repetitions: int = Field(default=5, ge=1, le=1000)
    """Measured repetitions; every one is kept raw."""
    warmup: int = Field(default=1, ge=0, le=100)
    """Repetitions before them that are kept but not counted: at least so many."""
    warmup_limit: int = Field(default=4, ge=0, le=100)
    """At most so many, until two in a row agree on tg within 3 %."""
    depths: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(default_factory=list)
    """Also time token generation behind so many tokens of context."""
    sustained_s: float = Field(default=0, ge=0, le=86_400)
    """Then generate for so many seconds on end, as a curve: shows throttling."""
    sampling: Literal["greedy", "none"] = "greedy"
    """`greedy` takes the most likely token inside the timed loop; `none` decodes fixed tokens, as
    llama-bench does."""
    context_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Context the engine reserves; by default prompt and output."""
    timeout_s: float = Field(default=3600, gt=0)
    """Seconds after which the cell is recorded as failed."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        need = max(self.prompt_tokens, *self.depths, 0) + self.output_tokens
        if self.context_tokens is not None and self.context_tokens < need:
            raise PydanticCustomError(
                "context",
                "context_tokens is {got}, but prompt (or depth) and output tokens are {need}",
                {"got": self.context_tokens, "need": need},
            )
        return self


def _switch(value: object) -> object:
    """YAML reads a bare on or off as a truth value."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


class Runtime(Part):
    """How the engine is run. A named set of its settings; what is left out is as llama.cpp has it.

    Speed only: quality is scored on the workstation with llama.cpp's defaults."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of the engine; by default the device's."""
    batch_tokens: int = Field(default=2048, ge=1, le=1_000_000)
    """Tokens of a prompt given to the engine at once (`n_batch`)."""
    ubatch_tokens: int = Field(default=512, ge=1, le=1_000_000)
    """Tokens it computes at once (`n_ubatch`): memory against prompt speed."""
    kv_cache: KvType = "f16"
    """Type of the keys and values it keeps of the context."""
    flash_attention: Switch = "auto"
    """Fused attention; a quantized `kv_cache` needs it."""
    mmap: bool = True
    """Map the file, rather than read it into memory of the engine's own."""
    mlock: bool = False
    """Lock the weights in memory, so that none is paged out; needs `repack: false`, and fails where
    the system forbids it."""
    repack: bool = True
    """Repack weights at load time for this processor: faster, and more memory for some types."""
    omp_wait_policy: Literal["active", "passive"] | None = None
    """What OpenMP's threads do between two steps: spin or sleep (`OMP_WAIT_POLICY`)."""
    tune: bool = False
    """Search for faster settings, on each device and for each variant, from these on (section
    `tune`)."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.ubatch_tokens > self.batch_tokens:
            raise PydanticCustomError(
                "batch",
                "ubatch_tokens is {ubatch}, more than batch_tokens, which is {batch}",
                {"ubatch": self.ubatch_tokens, "batch": self.batch_tokens},
            )
        if self.flash_attention == "off" and self.kv_cache not in ("f32", "f16", "bf16"):
            raise PydanticCustomError(
                "flash_attention",
                "kv_cache {kv_cache} needs flash_attention: auto or on",
                {"kv_cache": self.kv_cache},
            )
        if self.mlock and self.repack:
            raise PydanticCustomError(
                "mlock", "mlock needs repack: false; llama.cpp locks no repacked weights", {}
            )
        return self
