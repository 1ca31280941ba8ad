"""What is measured: workloads, and the engine's settings they run with."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.endpoint import Endpoint
from llmpi.study.fields import Id, Part, Quant

PASSAGE_TOKENS = 64
"""The least that a text takes, and the beginning of its copy."""

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class _Measured(Part):
    """What every kind of workload may say."""

    repetitions: int = Field(default=5, ge=1, le=1000)
    """Measured repetitions; every one is kept raw."""
    warmup: int = Field(default=1, ge=0, le=100)
    """Repetitions before them that are kept but not counted: at least so many."""
    warmup_limit: int = Field(default=4, ge=0, le=100)
    """At most so many, until two in a row agree on tg within 3 %."""
    sampling: Literal["greedy", "none"] = "greedy"
    """`greedy` takes the most likely token inside the timed loop; `none` decodes fixed tokens, as
    llama-bench does."""
    timeout_s: float = Field(default=3600, gt=0)
    """Seconds after which the cell is recorded as failed."""


class Workload(_Measured):
    """One conversation: prompt processing (pp), then token generation (tg) behind the prompt."""

    kind: Literal["single"] = "single"
    """`single`: the kind that is meant where none is said."""
    prompt_tokens: Tokens
    """Tokens of the prompt."""
    output_tokens: Tokens
    """Tokens to generate, each timed."""
    prompt: Literal["random", "passage", "chat", "code", "thinking"] = "random"
    """`random` tokens, or a `passage` of text and the beginning of its copy, which prompt lookup
    goes on with: the most that it can gain. A `chat`, `code` and `thinking` end where a model is to
    go on; what drafts are worth hangs on the kind of text."""
    depths: list[Tokens] = Field(default_factory=list)
    """Also time token generation behind so many tokens of context."""
    sustained_s: float = Field(default=0, ge=0, le=86_400)
    """Then generate for so many seconds on end, as a curve: shows throttling."""
    context_tokens: Tokens | None = None
    """Context the engine reserves; by default prompt and output."""

    @property
    def needed_tokens(self) -> int:
        """Tokens of context that are reserved for it."""
        return self.context_tokens or self._longest()

    def _longest(self) -> int:
        return max(self.prompt_tokens, *self.depths, 0) + self.output_tokens

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.context_tokens is not None and self.context_tokens < self._longest():
            raise PydanticCustomError(
                "context",
                "context_tokens is {got}, but prompt (or depth) and output tokens are {need}",
                {"got": self.context_tokens, "need": self._longest()},
            )
        if self.prompt != "random" and self.prompt_tokens < PASSAGE_TOKENS:
            raise PydanticCustomError(
                "passage",
                "prompt: {kind} needs at least {need} prompt_tokens, a text to go on with",
                {"kind": self.prompt, "need": PASSAGE_TOKENS},
            )
        return self


class ConcurrentWorkload(_Measured):
    """Conversations side by side on one model in memory, behind a system prompt stored once."""

    kind: Literal["concurrent"]
    """`concurrent`."""
    conversations: list[Annotated[int, Field(ge=1, le=256)]] = Field(min_length=1)
    """Numbers of parallel conversations to measure, rising, such as `[1, 2, 4, 8]`."""
    system_tokens: int = Field(default=0, ge=0, le=1_000_000)
    """Tokens of the system prompt that all share."""
    prompt_tokens: Tokens
    """Tokens of each one's own prompt behind it."""
    output_tokens: Tokens
    """Tokens to generate for each."""
    per_user_tps_at_least: float | None = Field(default=None, gt=0)
    """Tokens per second that each conversation should get: the report says up to how many do."""

    @field_validator("conversations")
    @classmethod
    def _rising(cls, counts: list[int]) -> list[int]:
        if sorted(set(counts)) != counts:
            raise PydanticCustomError(
                "rising", "the numbers must rise: {rising}", {"rising": sorted(set(counts))}
            )
        return counts

    @property
    def needed_tokens(self) -> int:
        """Tokens of context without which not even the smallest number can be measured."""
        return self.system_tokens + self.conversations[0] * (
            self.prompt_tokens + self.output_tokens
        )


Prefix = Literal["kept", "restored", "computed"]


class ConversationWorkload(_Measured):
    """One conversation of several turns, and what its history costs: what was said before a turn is
    the prefix of its prompt."""

    kind: Literal["conversation"]
    """`conversation`."""
    system_tokens: int = Field(default=256, ge=0, le=1_000_000)
    """Tokens of the system prompt, which the first turn reads."""
    turns: int = Field(default=4, ge=2, le=100)
    """Questions, each with its answer."""
    prompt_tokens: Tokens
    """Tokens of each question."""
    output_tokens: Tokens
    """Tokens of each answer."""
    pause_s: float = Field(default=0, ge=0, le=3600)
    """Seconds between an answer and the next question."""
    prefix: list[Prefix] = Field(default=["kept", "restored", "computed"], min_length=1)
    """What is done with the prefix, each measured by itself: `kept` in memory; saved to storage
    behind each answer and `restored` from there; `computed` again, which is also what a prompt
    costs whose beginning changes, as with a clock in its system prompt."""

    @field_validator("prefix")
    @classmethod
    def _each_once(cls, prefix: list[Prefix]) -> list[Prefix]:
        if len({*prefix}) < len(prefix):
            raise PydanticCustomError("duplicate", "each of them is measured once", {})
        return prefix

    @model_validator(mode="after")
    def _pauses_fit(self) -> Self:
        # The least that is done: one that tells the pace, a warm-up, and one that counts.
        least = len(self.prefix) * (2 + min(1, self.warmup))
        if least * self.pauses_s >= self.timeout_s:
            raise PydanticCustomError(
                "pause",
                "{least} conversations are the least that tells something, with {pauses} s of "
                "pauses, and timeout_s is {timeout}: shorten pause_s, or give it more time",
                {"least": least, "pauses": least * self.pauses_s, "timeout": self.timeout_s},
            )
        return self

    @property
    def pauses_s(self) -> float:
        """Of one conversation."""
        return (self.turns - 1) * self.pause_s

    @property
    def needed_tokens(self) -> int:
        """Tokens of context that all its turns take."""
        return self.system_tokens + self.turns * (self.prompt_tokens + self.output_tokens + 1)

    def computed_tokens(self, prefix: Prefix, output_tokens: int | None = None) -> list[int]:
        """Of each turn's prompt, as many as are computed where that is done with its prefix.

        Args:
            output_tokens: of each answer; by default what is asked for.
        """
        answer = self.output_tokens if output_tokens is None else output_tokens
        first = self.system_tokens + self.prompt_tokens
        each = self.prompt_tokens + 1  # the last token of the answer before
        if prefix == "computed":
            return [first + turn * (answer + each) for turn in range(self.turns)]
        return [first] + [each] * (self.turns - 1)


class AnswersWorkload(Part):
    """Some questions of a quality task, answered one by one as they are scored: what an answer
    really takes, beside what is computed of it."""

    kind: Literal["answers"]
    """`answers`."""
    task: Id
    """Id of a task under `quality` that asks questions. Two workloads need two tasks."""
    questions: int = Field(default=12, ge=2, le=1000)
    """So many, of all lengths, the same for every variant; of a task with fewer all."""
    seed: int = Field(default=0, ge=0)
    """Of the draw."""
    repetitions: int = Field(default=1, ge=1, le=100)
    """How often each is answered."""
    timeout_s: float = Field(default=3600, gt=0)
    """Seconds that it brings to the session; what there is no time for is not asked."""


def _said(value: object) -> object:
    """The kind that is meant where none is said, so that older configs stay as they are."""
    return {"kind": "single", **value} if isinstance(value, dict) else value


AnyWorkload = Annotated[
    Workload | ConcurrentWorkload | ConversationWorkload | AnswersWorkload,
    Field(discriminator="kind"),
    BeforeValidator(_said),
]


def _switch(value: object) -> object:
    """YAML reads a bare on or off as a truth value."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
FLOATS = ("f32", "f16", "bf16")


class PromptLookup(Part):
    """Guess the next tokens from the text so far, and check them all in one decoding.

    For work that copies from its prompt; a workload's `prompt: passage` shows the most it gains."""

    ngram: int = Field(default=3, ge=1, le=16)
    """So many last tokens must have stood in the text before."""
    draft_tokens: int = Field(default=3, ge=1, le=64)
    """Tokens to guess at most."""


class Draft(Part):
    """Let a smaller model guess the next tokens, and check them all in one decoding."""

    model: Id | None = None
    """Id of a model whose vocabulary is the same; by default the model itself, of which a smaller
    quantization drafts."""
    quant: Quant
    """Its quantization, one of the study's."""
    draft_tokens: int = Field(default=4, ge=1, le=64)
    """Tokens to guess at once."""


Drafting = Literal["prompt_lookup", "draft"]
"""Keys of a runtime by which tokens are drafted."""


class Runtime(Part):
    """How the engine is run. A named set of its settings; what is left out is as llama.cpp has it.

    `kv_cache` and `flash_attention` change what the model says, and have a score of their own
    (`scored_with`); the other keys change no more than the rounding."""

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
    lazy: Switch = "auto"
    """Read of a table that a token looks up (per-layer embeddings, as of Gemma 4) the rows that are
    wanted, when they are, in place of the whole: `auto` does so beyond 4 GiB. Less memory, slower
    from slow storage; `on` needs `mlock: false` and an engine that has it."""
    repack: bool = True
    """Repack weights at load time for this processor: faster, and more memory for some types."""
    omp_wait_policy: Literal["active", "passive"] | None = None
    """What OpenMP's threads do between two steps: spin or sleep (`OMP_WAIT_POLICY`)."""
    prompt_lookup: PromptLookup | None = None
    """Speculative decoding out of the prompt, of one conversation that samples greedily; needs a
    quantized `kv_cache`, with which the text is that of greedy decoding."""
    draft: Draft | None = None
    """Speculative decoding with a second model in memory, which drafts; for the same work, and
    under the same condition. Its sessions have workloads of the kind `single` alone."""
    tune: bool = False
    """Search for faster settings, on each device and for each variant, from these on (section
    `tune`)."""
    endpoint: Endpoint | None = None
    """Another engine, asked over HTTP; with it nothing else stands here, as its settings are its
    own."""

    @property
    def speculation(self) -> tuple[Drafting, PromptLookup | Draft] | None:
        """Key and settings of what drafts tokens."""
        if self.draft:
            return "draft", self.draft
        return ("prompt_lookup", self.prompt_lookup) if self.prompt_lookup else None

    @property
    def is_of_one_model(self) -> bool:
        """Whether llmpi's own engine runs one model, and no other drafts for it."""
        return not (self.endpoint or self.draft)

    @property
    def plain(self) -> Self:
        """The same without what drafts tokens."""
        return self.model_copy(update={"prompt_lookup": None, "draft": None})

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        fields = type(self).model_fields.items()
        changed = [k for k, field in fields if getattr(self, k) != field.get_default()]
        if self.endpoint and (others := [key for key in changed if key != "endpoint"]):
            raise PydanticCustomError(
                "endpoint",
                "an endpoint runs as it was started: {keys} would set nothing there",
                {"keys": ", ".join(others)},
            )
        if self.ubatch_tokens > self.batch_tokens:
            raise PydanticCustomError(
                "batch",
                "ubatch_tokens is {ubatch}, more than batch_tokens, which is {batch}",
                {"ubatch": self.ubatch_tokens, "batch": self.batch_tokens},
            )
        if self.flash_attention == "off" and self.kv_cache not in FLOATS:
            raise PydanticCustomError(
                "flash_attention",
                "kv_cache {kv_cache} needs flash_attention: auto or on",
                {"kv_cache": self.kv_cache},
            )
        if self.speculation:
            self._can_speculate(*self.speculation)
        if self.mlock and self.repack:
            raise PydanticCustomError(
                "mlock", "mlock needs repack: false; llama.cpp locks no repacked weights", {}
            )
        if self.mlock and self.lazy == "on":
            raise PydanticCustomError(
                "lazy",
                "mlock has the whole file in memory, and lazy: on would leave a part of it out: "
                "choose one",
                {},
            )
        return self

    def _can_speculate(self, key: str, asked: PromptLookup | Draft) -> None:
        if asked.draft_tokens >= self.batch_tokens:
            raise PydanticCustomError(
                "draft",
                "draft_tokens is {draft}; with the token before them they do not fit batch_tokens, "
                "which is {batch}",
                {"draft": asked.draft_tokens, "batch": self.batch_tokens},
            )
        if self.kv_cache in FLOATS:
            raise PydanticCustomError(
                "speculation",
                "{key} needs a quantized kv_cache, such as q8_0: with {kv_cache} the "
                "engine adds up a single token's attention in another order than that of a batch, "
                "and the text would not be that of greedy decoding",
                {"key": key, "kv_cache": self.kv_cache},
            )
        if self.draft and self.prompt_lookup:
            raise PydanticCustomError(
                "speculation",
                "prompt_lookup and draft both draft tokens: choose one, or make two runtimes",
                {},
            )
        if self.draft and self.tune:
            raise PydanticCustomError(
                "speculation",
                "a search measures one model alone: tune a runtime without draft, and give this "
                "one the settings that are found",
                {},
            )
