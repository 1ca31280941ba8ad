"""How runtime settings are searched."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from llmpi.study.devices import SingleDevice
from llmpi.study.fields import Bytes, Id, Part
from llmpi.study.measuring import KvType, PromptLookup, Runtime, Switch, Workload

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class TuneSpace(Part):
    """What is searched, key by key of a runtime. The runtime's own value is always among them, and
    `[]` keeps a key as it is. What makes no difference for the workloads is left out."""

    threads: list[Annotated[int, Field(ge=1, le=1024)]] | None = None
    """By default one per processor, one fewer, and half as many."""
    batch_tokens: list[Tokens] = Field(default=[512])
    """Tokens given to the engine at once."""
    ubatch_tokens: list[Tokens] = Field(default=[64, 128, 256, 1024])
    """Tokens computed at once; never more than `batch_tokens`."""
    kv_cache: list[KvType] = Field(default=["f16", "q8_0"])
    """Types of the keys and values."""
    flash_attention: list[Switch] = Field(default=["auto", "off"])
    """Fused attention; `auto` turns it on where the processor has it."""
    mmap: list[bool] = Field(default_factory=list)
    """Mapped or read files."""
    repack: list[bool] = Field(default=[True, False])
    """Weights repacked for the processor, or as they are in the file."""
    omp_wait_policy: list[Literal["active", "passive"]] = Field(default=["active", "passive"])
    """What OpenMP's threads do between two steps; OpenMP's own way is the default."""
    prompt_lookup: list[PromptLookup] = Field(default_factory=list)
    """Speculation, for workloads that quote (`prompt: passage`); only together with a quantized
    `kv_cache`."""


class Tune(Part):
    """How the settings of every runtime with `tune: true` are searched, for each device and
    variant."""

    objective: Literal["total", "pp", "tg", "ttft", "energy"] = "total"
    """What is to be short: prompt and generation of a workload together, one of them, or the time
    to the first token; or `energy`: what is to be little, the joules that the whole device takes
    for prompt and generation, by a meter that it reads itself."""
    weights: dict[Id, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How much each workload counts; one that is not named counts nothing. By default all count
    the same."""
    memory_at_most_bytes: Bytes | None = None
    """Settings with a greater peak RSS may not win."""
    agreement_at_least_pct: float = Field(default=100, ge=0, le=100)
    """Settings may not win if, at fewer of the positions of a fixed text, the likeliest token is
    the one it is without them. 100: they change no token; 0: anything goes."""
    trials: int = Field(default=32, ge=1, le=10_000)
    """At most so many settings are tried, and"""
    minutes: float = Field(default=60, gt=0)
    """no new ones after so much time of measuring; confirming the winner comes on top."""
    repetitions: int = Field(default=3, ge=1, le=100)
    """Repetitions of each workload when it is a setting's turn; their median counts."""
    confirm_blocks: int = Field(default=10, ge=8, le=100)
    """How often the finalists and the default are then measured again, in turns."""
    space: TuneSpace = TuneSpace()
    """What is searched."""


class SearchSettings(TypedDict):
    """What decides how settings are searched for it: for conversations one by one."""

    device: SingleDevice
    runtime: Runtime
    """Where the search starts."""
    workloads: dict[str, Workload]
    tune: Tune
